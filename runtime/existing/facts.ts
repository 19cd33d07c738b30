import { readFileSync } from "node:fs";
import type { Connection } from "../ssh/connection.ts";
import { rootShell } from "./root-shell.ts";

const SCRIPT = readFileSync(new URL("./facts.sh", import.meta.url), "utf8");

interface Account {
  readonly name: string;
  readonly uid: number;
  readonly shell: string;
  readonly home: string;
  /** Whether a password opens it, the empty one too. */
  readonly password: boolean;
}

interface Listening {
  readonly protocol: string;
  /** Address and port, `0.0.0.0:22`. */
  readonly local: string;
  /** The systemd unit that the process belongs to; `-` if that is not known. */
  readonly unit: string;
  readonly program: string;
}

/** What an existing machine is and what runs on it, as it was read. */
export interface MachineFacts {
  /** As in /etc/os-release: `debian-13`. */
  readonly os: string;
  readonly arch: string;
  readonly init: string;
  /** Of whoever asked, which must be root's, 0. */
  readonly uid: number;
  /** State of ssh.service: `active`. */
  readonly ssh: string;
  /** `ssh-ed25519 AAAA…`; empty if it has none. */
  readonly hostKey: string;
  /** Digest of the baseline that is on it, and whether all of it was put on; null if it has none. */
  readonly baseline: { readonly digest: string; readonly done: boolean } | null;
  /** Whether cloud-init made it, and would again. */
  readonly cloudInit: boolean;
  readonly accounts: readonly Account[];
  /** Files of keys that open an account. */
  readonly keys: readonly { readonly account: string; readonly path: string }[];
  /** Members of group sudo. */
  readonly sudo: readonly string[];
  /** Files below /etc/sudoers.d that are not its package's and not the kit's. */
  readonly sudoers: readonly string[];
  readonly listening: readonly Listening[];
  /** Services that run. */
  readonly running: readonly string[];
  readonly crontabs: readonly string[];
  /** nft tables, `inet filter`. */
  readonly tables: readonly string[];
  /** `absent`, `blank`, `ours`, `mounted` as ours, or `foreign` and what was found on it. */
  readonly device: string;
  /** Packages that were asked about and are not installed. */
  readonly missing: readonly string[];
  /** Contents of the files that were asked about, by path; those that are not there are left out. */
  readonly files: ReadonlyMap<string, string>;
}

/** What is asked about: the data volume below /dev/disk/by-id, Debian packages, and paths of files. */
export interface Questions {
  readonly device: string;
  readonly packages: readonly string[];
  readonly paths: readonly string[];
}

/**
 * Reads them, as root, and changes nothing.
 * @throws RemoteCommandError if root cannot be had or the script fails
 */
export async function readFacts(connection: Connection, questions: Questions): Promise<MachineFacts> {
  const { device, packages, paths } = questions;
  const asked = { device, packages: packages.join(" "), paths: paths.join(" ") };
  return parseFacts(await rootShell(connection, SCRIPT, asked, "reading what the machine is"));
}

/** The pure part of readFacts. */
export function parseFacts(text: string): MachineFacts {
  const lines = text.split("\n").map((line) => {
    const tab = line.indexOf("\t");
    return { word: line.slice(0, tab), value: line.slice(tab + 1) };
  });
  const all = (word: string) => lines.filter((line) => line.word === word).map(({ value }) => value);
  const one = (word: string) => all(word)[0] ?? "";
  const marker = /"digest":"([0-9a-f]{64})","status":"(\w+)"/.exec(one("marker"));
  return {
    os: one("os"),
    arch: one("arch"),
    init: one("init"),
    uid: Number(one("uid") === "" ? -1 : one("uid")),
    ssh: one("ssh"),
    hostKey: one("hostkey"),
    baseline: marker === null ? null : { digest: marker[1] ?? "", done: marker[2] === "done" },
    cloudInit: all("cloud-init").length > 0,
    accounts: all("account").map((value) => {
      const [name = "", uid, shell = "", home = "", status] = value.split(" ");
      return { name, uid: Number(uid), shell, home, password: status === "P" || status === "NP" };
    }),
    keys: all("keys").map((value) => {
      const [account = "", path = ""] = value.split(" ");
      return { account, path };
    }),
    sudo: one("sudo").split(" ").filter(Boolean),
    sudoers: all("sudoers"),
    listening: all("listening").map((value) => {
      const [protocol = "", local = "", unit = "", program = ""] = value.split(" ");
      return { protocol, local, unit, program };
    }),
    running: all("running"),
    crontabs: all("crontab"),
    tables: all("table"),
    device: one("device"),
    missing: all("missing"),
    files: new Map(
      all("file").map((value) => {
        const space = value.indexOf(" ");
        return [value.slice(0, space), Buffer.from(value.slice(space + 1), "base64").toString()];
      }),
    ),
  };
}
