import { App, TerraformStack } from "cdktf";
import type { Construct } from "constructs";
import { Access, AgentHost, LocalMachine, ModelProvider, Secret, Setting } from "../../constructs/index.ts";

/** Two OpenClaw agents on one host that share one workspace, and nothing else: one writes it, the other only reads it. */
export class TwoAgentsStack extends TerraformStack {
  constructor(scope: Construct, id: string) {
    super(scope, id);
    const host = new AgentHost(this, "pair", {
      machine: new LocalMachine(this, "machine", {
        engine: Setting.fromEnv("BAILIWICK_LOCAL_ENGINE"),
        memoryMiB: 4096,
      }),
      access: Access.operator(),
    });
    const claude = host.addModel("claude", ModelProvider.anthropic({ apiKey: Secret.fromEnv("ANTHROPIC_API_KEY") }));
    const reports = host.addWorkspace("reports");

    const writer = host.addAgent("writer");
    claude.grantInvoke(writer, { models: ["claude-sonnet-4-6"] });
    reports.grantReadWrite(writer);
    writer.allowEgress("api.example.com");

    const reader = host.addAgent("reader");
    claude.grantInvoke(reader, { models: ["claude-haiku-4-5"] });
    reports.grantRead(reader);
  }
}

const app = new App();
new TwoAgentsStack(app, "two-agents");
app.synth();
