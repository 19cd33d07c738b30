import { resolve } from "node:path";
import { OPERATOR } from "./hetzner/hosts.ts";

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
  readonly os?: "debian-12";
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
