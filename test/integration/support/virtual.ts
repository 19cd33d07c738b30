import { resolve } from "node:path";

/** What its agent may use: less than the machine has of each. */
export const VIRTUAL_LIMITS = { memoryMiB: 256, cpus: 0.8, tasks: 64 };

/**
 * App of one host as a virtual machine; `KIT` in it is to be replaced. The agent's environment says the version.
 * @param small properties of workspace `small`
 */
export const virtualApp = (version: number, small: { quotaMiB?: number } = {}) => `
import { App, TerraformStack } from "cdktf";
import { Access, AgentHost, LocalMachine, ModelProvider, Runtime } from "KIT";

const app = new App();
const stack = new TerraformStack(app, "vm");
const host = new AgentHost(stack, "vm", {
  machine: new LocalMachine(stack, "machine", { engine: "qemu", rootGiB: 4, dataGiB: 1 }),
  access: Access.operator(),
  timeouts: { baselineSeconds: 900, healthSeconds: 300, confirmSeconds: 120, drainSeconds: 30 },
});
const puppet = host.addAgent("puppet", {
  runtime: Runtime.command({
    source: ${JSON.stringify(resolve(import.meta.dirname, "puppet"))},
    argv: ["node", "./main.mjs"],
    env: { VERSION: "${version}" },
    health: "/healthz",
    ask: "/v1/chat/completions",
  }),
  limits: ${JSON.stringify(VIRTUAL_LIMITS)},
});
host.addModel("demo", ModelProvider.demo()).grantInvoke(puppet, { models: ["demo"] });
host.addWorkspace("desk").grantReadWrite(puppet);
host.addWorkspace("small", ${JSON.stringify(small)}).grantReadWrite(puppet);
app.synth();
`;
