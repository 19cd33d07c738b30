import { App, TerraformStack } from "cdktf";
import type { Construct } from "constructs";
import { Access, AgentHost, LocalMachine, ModelProvider, Runtime } from "../../constructs/index.ts";

/**
 * A model server (vLLM, Ollama, llama.cpp) on a private network. Of that network the host reaches this one port of this one
 * address, of the host the gateway alone, and only for the agent that is granted the model.
 */
export class PrivateModelStack extends TerraformStack {
  constructor(scope: Construct, id: string) {
    super(scope, id);
    const host = new AgentHost(this, "lab", { machine: new LocalMachine(this, "machine"), access: Access.operator() });
    const vllm = host.addModel(
      "vllm",
      ModelProvider.openAiCompatible({
        url: "http://10.0.0.5:8000",
        // what a call costs in power and wear; without a price a model takes no budget
        prices: { "qwen3-32b": { input: 0.05, output: 0.2 } },
      }),
    );
    const agent = host.addAgent("main", { runtime: Runtime.openClaw() });
    vllm.grantInvoke(agent, { models: ["qwen3-32b"], usdPerDay: 2, concurrentCalls: 4 });
  }
}

const app = new App();
new PrivateModelStack(app, "private-model");
app.synth();
