import { App, TerraformOutput, TerraformStack } from "cdktf";
import type { Construct } from "constructs";
import { Access, AgentHost, HetznerMachine, ModelProvider, Secret } from "../../constructs/index.ts";

/** One OpenClaw agent on one Hetzner server, reached from one network. */
export class SingleHetznerStack extends TerraformStack {
  constructor(scope: Construct, id: string) {
    super(scope, id);
    const machine = new HetznerMachine(this, "machine", { serverType: "cx33", location: "fsn1", dataGiB: 20 });
    const host = new AgentHost(this, "solo", {
      machine,
      access: Access.fromEnv({ key: "BAILIWICK_ADMIN_KEY", from: "BAILIWICK_ADMIN_CIDR" }),
    });
    const agent = host.addAgent("main");
    const claude = host.addModel("claude", ModelProvider.anthropic({ apiKey: Secret.fromEnv("ANTHROPIC_API_KEY") }));
    claude.grantInvoke(agent, { models: ["claude-sonnet-4-6"] });
    host.addWorkspace("notes").grantReadWrite(agent);
    agent.allowEgress("api.telegram.org");
    new TerraformOutput(this, "address", { value: machine.address });
  }
}

const app = new App();
new SingleHetznerStack(app, "single-hetzner");
app.synth();
