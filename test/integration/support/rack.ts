import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { OPERATOR } from "./hetzner/hosts.ts";
import type { Project, Ran } from "./project.ts";

const PUPPET = resolve(import.meta.dirname, "puppet");

/** Keys as generateSshKeyPair gives them. */
interface KeyPair {
  readonly publicKey: string;
  readonly privateKey: string;
}

/** User data of a machine that is there before: a host key of its own, and user `deploy` who may sudo. Nothing of the kit. */
export const rackUserData = (key: string, own: KeyPair) => `#cloud-config
users:
- name: deploy
  uid: 1500
  shell: /bin/bash
  sudo: "ALL=(ALL) NOPASSWD:ALL"
  ssh_authorized_keys: [${JSON.stringify(key)}]
ssh_keys:
  ed25519_private: ${JSON.stringify(own.privateKey)}
  ed25519_public: ${JSON.stringify(own.publicKey)}
`;

export interface RackOptions {
  readonly address: string;
  /** Public key line of admin `ada`. */
  readonly key: string;
  readonly hostKey: string;
  readonly os?: "debian-12" | "ubuntu-24.04";
  readonly adopt?: boolean;
}

/** App of host `rack` on such a machine; `KIT` in it is to be replaced. */
export const rackApp = ({ address, key, hostKey, os, adopt = false }: RackOptions) => `
import { App, TerraformStack } from "cdktf";
import { Access, AgentHost, ExistingMachine, ModelProvider, Runtime } from "KIT";

const app = new App();
const stack = new TerraformStack(app, "rack");
const machine = new ExistingMachine(stack, "machine", {
  address: ${JSON.stringify(address)},
  user: "deploy",
  hostKey: ${JSON.stringify(hostKey)},
  dataDevice: "bailiwick-data",
  ${os === undefined ? "" : `os: ${JSON.stringify(os)},`}
  adopt: ${adopt},
});
const access = Access.ssh({ admins: { ada: ${JSON.stringify(key)} }, from: ["${OPERATOR}/32"] });
const host = new AgentHost(stack, "rack", { machine, access });
const source = ${JSON.stringify(PUPPET)};
const agent = host.addAgent("puppet", {
  runtime: Runtime.command({ source, argv: ["node", "./main.mjs"], health: "/healthz", ask: "/v1/chat/completions" }),
});
host.addModel("demo", ModelProvider.demo()).grantInvoke(agent, { models: ["demo"] });
host.addWorkspace("desk").grantReadWrite(agent);
app.synth();
`;

/** As a user of the machine, by the key of admin `ada`, who trusts the machine's own host key and no other. */
export function sshAs(
  user: string,
  command: string,
  machine: { project: Project; address: string; own: KeyPair },
): Promise<Ran> {
  const { project, address, own } = machine;
  const known = join(project.dir, "known_hosts");
  writeFileSync(known, `${address} ${own.publicKey}\n`);
  const options = ["-F", "none", "-i", project.env.BAILIWICK_SSH_KEY ?? "", "-o", "BatchMode=yes"];
  return project.run("ssh", [...options, "-o", `UserKnownHostsFile=${known}`, `${user}@${address}`, command]);
}

/**
 * Every file of what the kit could touch, with a digest of its content.
 * @param onMachine runs a script of sh on it and gives what that prints
 */
export function filesOf(onMachine: (script: string) => string): Map<string, string> {
  const where = "/etc /home /opt /root /usr/lib/bailiwick /usr/lib/systemd /var/backups /var/spool";
  const text = onMachine(
    `(find ${where} -xdev -type f -exec sha256sum {} +; find ${where} -xdev -type l -printf '%l  %p\\n') 2>/dev/null; true`,
  );
  return new Map(
    text
      .trim()
      .split("\n")
      .map((line) => line.split("  ").reverse() as [string, string]),
  );
}

/** Paths of files that are not the same in both. */
export function changed(before: Map<string, string>, after: Map<string, string>): string[] {
  return [...new Set([...before.keys(), ...after.keys()])]
    .filter((path) => before.get(path) !== after.get(path))
    .sort();
}

/** Files that are not as they were when a machine was let go. */
export const STAYS =
  /^\/etc\/(passwd|shadow|group|gshadow|subuid|subgid)-?$|^\/etc\/\.pwd\.lock$|^\/etc\/cloud\/cloud-init\.disabled$/;
