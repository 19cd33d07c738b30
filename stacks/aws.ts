import { TerraformStack } from "cdktf";
import type { Construct } from "constructs";
import { Access, AgentHost, AwsMachine, ModelProvider, Runtime, Secret } from "../constructs/index.ts";

/**
 * Host `aws`, on EC2 in a VPC of its own: one OpenClaw agent and a workspace. `AWS_REGION` and credentials,
 * `BAILIWICK_ADMIN_KEY` (a public key line), `BAILIWICK_ADMIN_CIDR` (the networks you log in from) and
 * `ANTHROPIC_API_KEY` must be set to deploy it.
 */
export class AwsStack extends TerraformStack {
  constructor(scope: Construct, id: string) {
    super(scope, id);
    const host = new AgentHost(this, "aws", {
      machine: new AwsMachine(this, "machine", { instanceType: "t3.medium" }),
      access: Access.fromEnv({ key: "BAILIWICK_ADMIN_KEY", from: "BAILIWICK_ADMIN_CIDR" }),
    });
    const agent = host.addAgent("main", { runtime: Runtime.openClaw() });
    const claude = host.addModel("claude", ModelProvider.anthropic({ apiKey: Secret.fromEnv("ANTHROPIC_API_KEY") }));
    claude.grantInvoke(agent, { models: ["claude-sonnet-4-6"] });
    host.addWorkspace("notes").grantReadWrite(agent);
  }
}
