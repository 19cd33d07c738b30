import { Token } from "cdktf";
import { Name } from "../runtime/spec/names.ts";
import { Cidr, SshPublicKey } from "../runtime/spec/network.ts";
import { operatorKeyFile, operatorPublicKey } from "./operator-key.ts";
import { checked, knownKeys, Refusal, refuse } from "./refuse.ts";
import { whySecret } from "./secret-shapes.ts";
import { Setting } from "./setting.ts";
import { SYSTEM_ACCOUNTS } from "./system-accounts.ts";

/** Every address of the internet; made by `Access.anywhere()` alone. */
class Anywhere {
  readonly networks = ["0.0.0.0/0", "::/0"];
}

export type { Anywhere };

/** One admin, when the public key alone does not say it all. */
export interface AdminProps {
  /** Public key line, `ssh-ed25519 AAAA… comment` (or `sk-ssh-ed25519@openssh.com`). For all but the first admin it may be a Terraform token. */
  readonly key: string | Setting;
  /**
   * Unix uid of the account, 1000 to 19999.
   * @default the first free one from 1000 on, in the order the admins are given
   */
  readonly uid?: number;
}

export interface SshAccessProps {
  /**
   * Admins by account name: one account each, by this one key only, with sudo. First boot makes the account of the
   * first one; changing that name, uid or key rebuilds the machine. All others come with the release.
   */
  readonly admins: Readonly<Record<string, string | Setting | AdminProps>>;
  /**
   * Networks that may reach sshd, IPv4 or IPv6 in CIDR form: `203.0.113.7/32`. May be Terraform tokens. A `Setting` may
   * hold several, separated by commas or spaces. `Access.anywhere()` opens it to the whole internet.
   */
  readonly from: readonly (string | Setting | Anywhere)[];
}

export interface AccessFromEnvProps {
  /** Environment variable with the admin's public key line, such as `BAILIWICK_ADMIN_KEY`. */
  readonly key: string;
  /** Environment variable with one or more networks in CIDR form, such as `BAILIWICK_ADMIN_CIDR`. */
  readonly from: string;
  /**
   * Name of the admin's account.
   * @default "admin"
   */
  readonly admin?: string;
}

/** A value of the access list: literal, token, or not there yet. */
type AccessValue = { readonly text: string } | { readonly missing: string };

/** Who may log in to a host over SSH, and from where. A value: one Access may serve many hosts and stacks. */
export class Access {
  /** Admins in the order given; the first is the one whose account first boot makes. */
  readonly admins: readonly { readonly name: string; readonly uid: number; readonly key: AccessValue }[];
  /** Networks that may reach sshd. */
  readonly from: readonly AccessValue[];

  private constructor(admins: Access["admins"], from: Access["from"]) {
    this.admins = admins;
    this.from = from;
  }

  /**
   * The admins and networks given.
   * @throws Refusal for a key that is no ed25519 public key, a bad network, `0.0.0.0/0` or `::/0` written out, a name of
   * a system account, a uid given twice. A `Setting` that is unset or bad fails the plan of the stack instead.
   */
  static ssh(props: SshAccessProps): Access {
    knownKeys("Access.ssh", props, ["admins", "from"]);
    knownKeys("Access.ssh admins", props.admins, Object.keys(props.admins ?? {}));
    const entries = Object.entries(props.admins);
    if (entries.length === 0) refuse("Access.ssh admins", props.admins, "name at least one admin, with a public key");
    if (!Array.isArray(props.from) || props.from.length === 0)
      refuse("Access.ssh from", props.from, 'give at least one network, such as ["203.0.113.7/32"]');
    const uids = adminUids(entries);
    const admins = entries.map(([name, admin], i) => ({
      name: adminName(`Access.ssh admins.${name}`, name),
      uid: uids[i] ?? 1000 + i,
      key: publicKey(`Access.ssh admins.${name}`, admin, i === 0),
    }));
    return new Access(admins, props.from.flatMap(networks));
  }

  /**
   * The single operator of a machine of one's own: account `admin`, from loopback only (a forwarded port of a local
   * machine arrives at its sshd as 127.0.0.1). The key is `BAILIWICK_ADMIN_KEY` if that is set (public key line), else the
   * public half of `~/.config/bailiwick/operator_ed25519`, made there at synth when it does not exist.
   */
  static operator(): Access {
    const setting = Setting.fromEnv("BAILIWICK_ADMIN_KEY");
    return new Access(
      [{ name: "admin", uid: 1000, key: setting.value === undefined ? operatorKey() : settingKey(setting) }],
      [{ text: "127.0.0.1/32" }],
    );
  }

  /**
   * One admin, with key and networks from the environment at synth. While one is unset, or holds no public key or no
   * network, synth works and the plan of the stack fails, naming the variable.
   */
  static fromEnv(props: AccessFromEnvProps): Access {
    knownKeys("Access.fromEnv", props, ["key", "from", "admin"]);
    return Access.ssh({
      admins: { [props.admin ?? "admin"]: Setting.fromEnv(props.key) },
      from: [Setting.fromEnv(props.from)],
    });
  }

  /** For `from`: every IPv4 and IPv6 address. sshd then takes connections from the whole internet. */
  static anywhere(): Anywhere {
    return new Anywhere();
  }

  /** What a deploy still lacks, one sentence each. */
  get missing(): readonly string[] {
    return [...this.admins.map((admin) => admin.key), ...this.from].flatMap((v) => ("missing" in v ? [v.missing] : []));
  }
}

function adminName(path: string, name: string): string {
  checked(`${path} name`, Name, name);
  if (SYSTEM_ACCOUNTS.has(name)) refuse(path, name, "it is an account or group of the system; choose another name");
  return name;
}

function adminUids(entries: readonly [string, string | Setting | AdminProps][]): number[] {
  const taken = new Map<number, string>();
  for (const [name, admin] of entries) {
    if (typeof admin !== "object" || admin === null || admin instanceof Setting || admin.uid === undefined) continue;
    const path = `Access.ssh admins.${name}.uid`;
    if (!Number.isInteger(admin.uid) || Token.isUnresolved(admin.uid) || admin.uid < 1000 || admin.uid > 19999)
      refuse(path, admin.uid, "give a whole number from 1000 to 19999");
    const other = taken.get(admin.uid);
    if (other !== undefined) refuse(path, admin.uid, `already the uid of "${other}"; give one of them another`);
    taken.set(admin.uid, name);
  }
  let next = 1000;
  return entries.map(([name, admin]) => {
    if (typeof admin === "object" && !(admin instanceof Setting) && admin?.uid !== undefined) return admin.uid;
    while (taken.has(next)) next += 1;
    taken.set(next, name);
    return next;
  });
}

function publicKey(path: string, admin: string | Setting | AdminProps, first: boolean): AccessValue {
  if (admin instanceof Setting) return settingKey(admin);
  if (typeof admin === "object" && admin !== null) {
    knownKeys(path, admin, ["key", "uid"]);
    return publicKey(`${path}.key`, admin.key, first);
  }
  if (Token.isUnresolved(admin)) {
    if (first)
      throw new Refusal(
        `${path}: received a Terraform token; the first admin's key is part of first boot and must be known at synth: give it literally, or put an admin whose key is known first`,
      );
    return { text: admin };
  }
  const why = typeof admin === "string" ? whySecret(admin) : undefined;
  if (why !== undefined)
    throw new Refusal(`${path}: received ${why}; give the public key line, as in id_ed25519.pub, never a private key`);
  return { text: checked(path, SshPublicKey, admin) };
}

function settingKey(setting: Setting): AccessValue {
  const { variable, value } = setting;
  if (value === undefined)
    return { missing: `${variable} is not set; set it to an admin's public key line, as in id_ed25519.pub` };
  if (!SshPublicKey.safeParse(value).success)
    return { missing: `${variable} holds no ed25519 public key line; set it to one, as in id_ed25519.pub` };
  return { text: value };
}

function operatorKey(): AccessValue {
  try {
    return { text: operatorPublicKey() };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return {
      missing: `the operator's key at ${operatorKeyFile()} cannot be read or made (${reason}); repair that, or set BAILIWICK_ADMIN_KEY to a public key line`,
    };
  }
}

function networks(value: string | Setting | Anywhere, index: number): AccessValue[] {
  const path = `Access.ssh from[${index}]`;
  if (value instanceof Anywhere) return value.networks.map((text) => ({ text }));
  if (value instanceof Setting) return settingNetworks(value);
  if (Token.isUnresolved(value)) return [{ text: value }];
  const text = checked(path, Cidr, value);
  if (text.endsWith("/0"))
    refuse(path, text, "that is the whole internet; write Access.anywhere() if it is meant, else your own network");
  return [{ text }];
}

function settingNetworks({ variable, value }: Setting): AccessValue[] {
  if (value === undefined)
    return [{ missing: `${variable} is not set; set it to the networks you log in from, such as your own address/32` }];
  return value.split(/[\s,]+/).map((text) => {
    if (!Cidr.safeParse(text).success)
      return { missing: `${variable}: received "${text}", which is no network in CIDR form; write address/length` };
    if (text.endsWith("/0"))
      return { missing: `${variable}: received "${text}", the whole internet; give networks of your own` };
    return { text };
  });
}
