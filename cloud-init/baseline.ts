import { readdirSync } from "node:fs";
import { sha256 } from "../runtime/spec/digest.ts";
import { Name, PRINCIPAL_UIDS, SYSTEM_PRINCIPALS } from "../runtime/spec/names.ts";
import { SshPublicKey } from "../runtime/spec/network.ts";
import { type OperatingSystem, ownsTables } from "../runtime/spec/operating-system.ts";
import { OPERATING_SYSTEMS } from "./operating-systems.ts";
import { loadTemplate, type Partials, render } from "./render.ts";

/**
 * Stands in the user data for the bootstrap private key, inside a YAML double-quoted string: to be replaced by the PEM
 * with each newline written as the two characters `\n`.
 */
export const HOST_KEY_PRIVATE_PLACEHOLDER = "BAILIWICK_HOST_KEY_PRIVATE";

/** Stands in the user data for the bootstrap public key: to be replaced by `ssh-ed25519 AAAA…`. */
export const HOST_KEY_PUBLIC_PLACEHOLDER = "BAILIWICK_HOST_KEY_PUBLIC";

/** May be given as the admin's public key where it is known at apply only; to be replaced by one public key line. */
export const ADMIN_KEY_PLACEHOLDER = "BAILIWICK_ADMIN_KEY";

/** May stand in the data volume's name for an id that is known at apply only. */
export const DATA_VOLUME_PLACEHOLDER = "BAILIWICKID";

/** Largest user data that is rendered, in bytes: AWS takes 16 KiB, and the keys have yet to be put in. */
export const USER_DATA_LIMIT = 12_288;

/** What the user data depends on. The same for every spec: no principal, grant or CIDR. */
export interface UserDataInput {
  /** Name of the host; becomes its host name. */
  readonly host: string;
  readonly os: OperatingSystem;
  /** The bootstrap admin: a uid of 1000 to 19999 and one ed25519 public key line, or ADMIN_KEY_PLACEHOLDER. */
  readonly admin: { readonly name: string; readonly uid: number; readonly publicKey: string };
  /**
   * Name of the data volume below /dev/disk/by-id, where the machine has another for it than the kit's own.
   * DATA_VOLUME_PLACEHOLDER in it is to be replaced by letters and digits.
   * @default bailiwick-data
   */
  readonly dataDevice?: string;
}

/**
 * Packages of Debian and Ubuntu that the baseline needs, of the same names in both. First boot installs those that are
 * missing, behind the firewall; an image that has them all boots without reaching an archive.
 */
export const BASELINE_PACKAGES: readonly string[] = [
  "acl",
  "auditd",
  "ca-certificates",
  "dnsmasq-base",
  "e2fsprogs",
  "haproxy",
  "iproute2",
  "needrestart",
  "nftables",
  "openssh-server",
  "python3",
  "sudo",
  "systemd-timesyncd",
  "unattended-upgrades",
  "xfsprogs",
  "zstd",
];

/**
 * The user data of a host: cloud-config that writes the baseline's files and runs its apply script. Ends in
 * `/etc/bailiwick/baseline.json`. Keys are placeholders.
 *
 * @throws Error when an input is refused, the text is larger than USER_DATA_LIMIT, or Terraform would interpolate it.
 */
export function renderUserData(input: UserDataInput): string {
  return userData(input, baselineDigest(input));
}

/**
 * Digest of the baseline: sha256 of the user data with its placeholders, without the host's name and this digest.
 * Changes with the kit's files, the OS and the bootstrap admin; a machine with another digest is to be rebuilt.
 */
export function baselineDigest(input: Omit<UserDataInput, "host">): string {
  return sha256(withoutName({ ...input, host: NO_HOST }));
}

/** A file of the baseline. */
interface BaselineFile {
  readonly path: string;
  readonly content: string;
}

/** The baseline without cloud-init around it, for a machine that was there before: the same files by another carrier. */
export interface Baseline {
  /** As in `baselineDigest`. */
  readonly digest: string;
  /** Every file that it puts in place, the apply script first. */
  readonly files: readonly [apply: BaselineFile, sshd: BaselineFile, ...BaselineFile[]];
}

/**
 * What the user data of the same input carries. Carried otherwise, the first two files are to be written (modes 0644 and
 * 0600), the admin's account to be made with group `bailiwick-admins` and its key, and the first file to be run by /bin/sh
 * as root, which writes the others. Ends in `/etc/bailiwick/baseline.json`.
 *
 * @throws Error when an input is refused
 */
export function renderBaseline(input: Omit<UserDataInput, "host">): Baseline {
  const digest = baselineDigest(input);
  const part = (template: string) => render(template, templateData(input), files());
  const apply = part("{{> baseline}}\n").replace(`digest=${NO_DIGEST}`, `digest=${digest}`);
  const carried = apply.split(/^@(?=[./])/m).slice(1);
  return {
    digest,
    files: [
      { path: "/usr/lib/bailiwick/apply", content: apply },
      { path: "/etc/ssh/sshd_config.d/10-bailiwick.conf", content: part("{{> [sshd.conf]}}\n") },
      ...carried.map((text) => {
        const end = text.indexOf("\n");
        const path = text.slice(0, end).replace(/^\.\//, "/usr/lib/bailiwick/");
        return { path, content: text.slice(end + 1) };
      }),
    ],
  };
}

function userData(input: UserDataInput, digest: string): string {
  const { host } = input;
  refuseUnless(Name.safeParse(host).success, "host", host, "a name of 1 to 20 of a-z, 0-9 and single hyphens");
  // Names and digests need no quoting: see above and `Name`.
  const text = withoutName(input)
    .replace(`hostname: "${NO_HOST}"`, `hostname: "${host}"`)
    .replace(`digest=${NO_DIGEST}`, `digest=${digest}`);
  const size = Buffer.byteLength(text);
  if (size > USER_DATA_LIMIT) throw new Error(`user data has ${size} bytes; at most ${USER_DATA_LIMIT} are taken`);
  return text;
}

const DATA_DEVICE = "bailiwick-data";
const NO_HOST = "host";
const NO_DIGEST = "0".repeat(64);
const rendered = new Map<string, string>();

/** The user data as it is for every host, rendered once for a fleet: it differs by the host's name and the digest alone. */
function withoutName({ os, admin, dataDevice = DATA_DEVICE }: UserDataInput): string {
  const key = JSON.stringify([os, admin.name, admin.uid, admin.publicKey, dataDevice]);
  const known = rendered.get(key);
  if (known !== undefined) return known;
  refuseUnless(Object.hasOwn(OPERATING_SYSTEMS, os), "os", os, `one of ${Object.keys(OPERATING_SYSTEMS).join(", ")}`);
  refuseUnless(Name.safeParse(admin.name).success, "admin.name", admin.name, "a name like that of a host");
  const uidHolds = Number.isInteger(admin.uid) && admin.uid >= 1000 && admin.uid < PRINCIPAL_UIDS.first;
  refuseUnless(uidHolds, "admin.uid", admin.uid, `an integer from 1000 to ${PRINCIPAL_UIDS.first - 1}`);
  const keyHolds = admin.publicKey === ADMIN_KEY_PLACEHOLDER || SshPublicKey.safeParse(admin.publicKey).success;
  refuseUnless(keyHolds, "admin.publicKey", admin.publicKey, "one ed25519 public key line or the placeholder");
  const deviceHolds = /^[A-Za-z0-9_-]{1,64}$/.test(dataDevice);
  refuseUnless(deviceHolds, "dataDevice", dataDevice, "1 to 64 of A-Z a-z 0-9 _ -, a name below /dev/disk/by-id");
  const text = render(
    loadTemplate(new URL("./user-data.yaml.hbs", import.meta.url)),
    templateData({ os, admin, dataDevice }),
    files(),
  );
  const interpolated = /[$%]\{.*/.exec(text);
  if (interpolated) throw new Error(`user data contains "${interpolated[0]}", which Terraform would interpolate`);
  rendered.set(key, text);
  return text;
}

/** What the templates are filled with: the same for every carrier of the baseline. */
function templateData({ os, admin, dataDevice = DATA_DEVICE }: Omit<UserDataInput, "host">): object {
  return {
    host: NO_HOST,
    admin,
    digest: NO_DIGEST,
    dataDevice: `/dev/disk/by-id/${dataDevice}`,
    ...OPERATING_SYSTEMS[os],
    owned: ownsTables(os),
    hostKey: { private: HOST_KEY_PRIVATE_PLACEHOLDER, public: HOST_KEY_PUBLIC_PLACEHOLDER },
    packages: BASELINE_PACKAGES,
    uids: { ...PRINCIPAL_UIDS, kept: SYSTEM_PRINCIPALS.egress + 1 },
  };
}

function refuseUnless(holds: boolean, field: string, received: unknown, takes: string): void {
  if (!holds) throw new Error(`user data: ${field} received ${JSON.stringify(received)}; it takes ${takes}`);
}

/**
 * The files beside the template, by name without `.hbs`. Bytes are scarce in user data, so comments stay here, and so
 * do indentation and spaces where they have no meaning.
 */
function files(): Partials {
  const folder = new URL("./files/", import.meta.url);
  const names = readdirSync(folder).filter((name) => name.endsWith(".hbs"));
  return Object.fromEntries(names.map((name) => [name.slice(0, -4), terse(name, loadTemplate(new URL(name, folder)))]));
}

function terse(name: string, text: string): string {
  const code = text.replace(/^\s*(# .*)?\n/gm, "");
  return name.endsWith(".py.hbs") ? tersePython(code) : code.replace(/^ +/gm, "");
}

/** One space for each level, and none beside an operator; the first line, and what is in double quotes, stay as they are. */
function tersePython(code: string): string {
  const indented = code.replace(/^( {2})+/gm, (spaces) => " ".repeat(spaces.length / 2));
  return indented
    .split(/(^#!.*|"(?:[^"\\]|\\.)*")/)
    .map((part, i) => (i % 2 === 1 ? part : part.replace(/(?<=\S) (?=[^\w\s{])|(?<=[^\w\s}]) (?=\S)/g, "")))
    .join("");
}
