import { fileURLToPath } from "node:url";
import { App, TerraformStack } from "cdktf";
import type { Construct } from "constructs";
import { Access, AgentHost, LocalMachine, ModelProvider, Runtime } from "../../constructs/index.ts";

/**
 * A model server on the host itself, as a principal of its own: the gateway alone reaches it, and it reaches nothing. Here
 * it is a few lines of Node.js; of llama.cpp it would be
 * `argv: ["./llama-server", "--model", "./model.gguf", "--host", "127.0.0.1", "--port", "{port}"]`, `health: "/health"`.
 */
export class LocalModelStack extends TerraformStack {
  constructor(scope: Construct, id: string) {
    super(scope, id);
    const host = new AgentHost(this, "own", { machine: new LocalMachine(this, "machine"), access: Access.operator() });
    const local = host.addModel(
      "local",
      ModelProvider.onHost({
        source: fileURLToPath(new URL("./server", import.meta.url)),
        argv: ["node", "./main.mjs", "--port={port}"],
        health: "/health",
        memoryMiB: 512,
      }),
    );
    const agent = host.addAgent("main", { runtime: Runtime.openClaw() });
    local.grantInvoke(agent, { models: ["parrot"] });
  }
}

const app = new App();
new LocalModelStack(app, "local-model");
app.synth();
