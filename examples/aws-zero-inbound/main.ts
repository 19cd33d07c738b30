import { App, S3Backend, TerraformStack } from "cdktf";
import type { Construct } from "constructs";
import { Access, AgentHost, AwsMachine, ModelProvider, Secret } from "../../constructs/index.ts";

/**
 * An EC2 instance that takes nothing from outside. Operators come by an EC2 Instance Connect Endpoint, which IAM opens to
 * them, and then still need an admin's key; the AWS CLI must be installed where `bailiwick` runs.
 */
export class AwsZeroInboundStack extends TerraformStack {
  constructor(scope: Construct, id: string) {
    super(scope, id);
    const state = {
      bucket: "example-team-terraform",
      region: "eu-central-1",
      key: "bailiwick/aws-zero-inbound.tfstate",
    };
    new S3Backend(this, { ...state, encrypt: true }).addOverride("use_lockfile", true);
    const host = new AgentHost(this, "quiet", {
      machine: new AwsMachine(this, "machine", { instanceType: "t3.medium", inbound: "instance-connect" }),
      // The networks are not used here: what the host sees is the endpoint's own.
      access: Access.fromEnv({ key: "BAILIWICK_ADMIN_KEY", from: "BAILIWICK_ADMIN_CIDR" }),
    });
    const agent = host.addAgent("main");
    const claude = host.addModel("claude", ModelProvider.anthropic({ apiKey: Secret.fromEnv("ANTHROPIC_API_KEY") }));
    claude.grantInvoke(agent, { models: ["claude-sonnet-4-6"] });
    host.addWorkspace("notes").grantReadWrite(agent);
  }
}

const app = new App();
new AwsZeroInboundStack(app, "aws-zero-inbound");
app.synth();
