import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { isBinding } from "../spec/binding.ts";
import type { HostSpec } from "../spec/host-spec.ts";
import type { Identity } from "../ssh/identity.ts";
import { UsageError } from "./errors.ts";

/** The key to log in with, and whose it is. */
export interface AdminIdentity {
  admin: string;
  identity: Identity;
}

/**
 * The first key found that belongs to an admin of the spec: `$BAILIWICK_SSH_KEY`, the operator's own key of the kit,
 * `~/.ssh/id_ed25519`, then the ssh-agent.
 * @throws UsageError naming where it looked and whose keys would do
 */
export async function findIdentity(spec: {
  readonly name: string;
  readonly access: Pick<HostSpec["access"], "admins">;
}): Promise<AdminIdentity> {
  const admins = new Map<string, string>();
  for (const [name, { publicKey }] of Object.entries(spec.access.admins))
    if (!isBinding(publicKey)) admins.set(keyOf(publicKey), name);
  const config = process.env.XDG_CONFIG_HOME ?? join(homedir(), ".config");
  const files = [
    process.env.BAILIWICK_SSH_KEY,
    join(config, "bailiwick", "operator_ed25519"),
    join(homedir(), ".ssh", "id_ed25519"),
  ].filter((file) => file !== undefined);
  for (const file of files) {
    if (!existsSync(file)) continue;
    const publicKey = existsSync(`${file}.pub`)
      ? readFileSync(`${file}.pub`, "utf8")
      : await output("ssh-keygen", ["-y", "-f", file]);
    const admin = admins.get(keyOf(publicKey));
    if (admin !== undefined) return { admin, identity: { kind: "file", path: file } };
  }
  const socket = process.env.SSH_AUTH_SOCK;
  if (socket !== undefined) {
    for (const line of (await output("ssh-add", ["-L"])).split("\n")) {
      const admin = admins.get(keyOf(line));
      if (admin !== undefined) return { admin, identity: { kind: "agent", socket, publicKey: line.trim() } };
    }
  }
  throw new UsageError(
    `none of your ssh keys belongs to an admin of host "${spec.name}" (${[...admins.values()].join(", ")}); looked at ${files.join(", ")}` +
      `${socket === undefined ? "" : " and the ssh-agent"}; set BAILIWICK_SSH_KEY to the private key's file`,
  );
}

/** Type and key of a public key line, without its comment. */
function keyOf(line: string): string {
  return line.trim().split(/\s+/).slice(0, 2).join(" ");
}

function output(program: string, args: string[]): Promise<string> {
  return new Promise((done) => execFile(program, args, (error, stdout) => done(error === null ? stdout : "")));
}
