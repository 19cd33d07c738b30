import { App, TerraformStack } from "cdktf";
import type { Construct } from "constructs";
import { Access, AgentHost, ExistingMachine, ModelProvider, Secret } from "../../constructs/index.ts";

/** A server in a rack, with Debian 13 and a second disk: its host key was read on its own console. */
export class ExistingMachineStack extends TerraformStack {
  constructor(scope: Construct, id: string) {
    super(scope, id);
    const host = new AgentHost(this, "rack", {
      machine: new ExistingMachine(this, "machine", {
        address: "192.0.2.40",
        user: "debian",
        hostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH16ASxSKFAorGhpkBptfhMzQ3gShCnyf3AGstEh2jE5",
        dataDevice: "ata-SAMSUNG_MZ7L3480_S6ESNA0W400001",
      }),
      access: Access.fromEnv({ key: "BAILIWICK_ADMIN_KEY", from: "BAILIWICK_ADMIN_CIDR" }),
    });
    const agent = host.addAgent("main");
    const claude = host.addModel("claude", ModelProvider.anthropic({ apiKey: Secret.fromEnv("ANTHROPIC_API_KEY") }));
    claude.grantInvoke(agent, { models: ["claude-sonnet-4-6"] });
    host.addWorkspace("notes").grantReadWrite(agent);
  }
}

const app = new App();
new ExistingMachineStack(app, "existing-machine");
app.synth();
