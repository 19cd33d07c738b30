import { fileURLToPath } from "node:url";
import { App, TerraformStack } from "cdktf";
import type { Construct } from "constructs";
import { Access, AgentHost, LocalMachine, Runtime } from "../../constructs/index.ts";

/** Any daemon as an agent: a folder and a command. It has no model, no name, no workspace: nothing is granted. */
export class CommandAgentStack extends TerraformStack {
  constructor(scope: Construct, id: string) {
    super(scope, id);
    const host = new AgentHost(this, "echo", { machine: new LocalMachine(this, "machine"), access: Access.operator() });
    host.addAgent("echo", {
      runtime: Runtime.command({
        source: fileURLToPath(new URL("./daemon", import.meta.url)),
        argv: ["node", "./main.mjs"],
        env: { GREETING: "hello" },
        health: "/healthz",
        ask: "/v1/chat/completions",
      }),
    });
  }
}

const app = new App();
new CommandAgentStack(app, "command-agent");
app.synth();
