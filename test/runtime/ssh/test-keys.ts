import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Identity } from "../../../runtime/ssh/identity.ts";

/** A key pair on disk, made by the real ssh-keygen. */
export interface TestKey {
  readonly path: string;
  /** `ssh-ed25519 AAAA…`, without a comment. */
  readonly publicKey: string;
  readonly fingerprint: string;
  readonly identity: Identity;
}

export function makeKey(directory: string, name: string, type = "ed25519"): TestKey {
  const path = join(directory, name);
  execFileSync("ssh-keygen", ["-q", "-t", type, "-N", "", "-C", name, "-f", path]);
  const publicKey = readFileSync(`${path}.pub`, "utf8").split(" ").slice(0, 2).join(" ");
  const fingerprint = execFileSync("ssh-keygen", ["-lf", `${path}.pub`], { encoding: "utf8" }).split(" ")[1] ?? "";
  return { path, publicKey, fingerprint, identity: { kind: "file", path } };
}
