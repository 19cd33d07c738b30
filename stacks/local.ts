import { TerraformStack } from "cdktf";
import type { Construct } from "constructs";
import { Access, AgentHost, LocalMachine, ModelProvider, Runtime, Secret, Setting } from "../constructs/index.ts";

/**
 * Host `local`, on this Linux machine: one OpenClaw agent and a workspace. Its model is the demo stand-in until
 * `ANTHROPIC_API_KEY` or `OPENAI_API_KEY` is set; then that provider's, and the machine a
 * virtual one unless `BAILIWICK_LOCAL_ENGINE=nspawn` says otherwise. `BAILIWICK_MODEL` names another model id of the provider.
 */
export class LocalStack extends TerraformStack {
  constructor(scope: Construct, id: string) {
    super(scope, id);
    const host = new AgentHost(this, "local", {
      machine: new LocalMachine(this, "machine", { engine: Setting.fromEnv("BAILIWICK_LOCAL_ENGINE") }),
      access: Access.operator(),
    });
    const agent = host.addAgent("main", { runtime: Runtime.openClaw() });
    const { name, provider, model } = provided();
    host.addModel(name, provider).grantInvoke(agent, { models: [model] });
    host.addWorkspace("notes").grantReadWrite(agent);
  }
}

function provided(): { name: string; provider: ModelProvider; model: string } {
  const model = Setting.fromEnv("BAILIWICK_MODEL").value;
  if (isSet("ANTHROPIC_API_KEY")) {
    const provider = ModelProvider.anthropic({ apiKey: Secret.fromEnv("ANTHROPIC_API_KEY") });
    return { name: "claude", provider, model: model ?? "claude-sonnet-4-6" };
  }
  if (isSet("OPENAI_API_KEY")) {
    const provider = ModelProvider.openai({ apiKey: Secret.fromEnv("OPENAI_API_KEY") });
    return { name: "openai", provider, model: model ?? "gpt-5.6" };
  }
  return { name: "demo", provider: ModelProvider.demo(), model: "demo" };
}

function isSet(variable: string): boolean {
  return (process.env[variable] ?? "") !== "";
}
