import { App, DataTerraformRemoteStateS3, S3Backend, TerraformOutput, TerraformStack } from "cdktf";
import type { Construct } from "constructs";
import { Access, AgentHost, AwsMachine, ModelProvider, Secret } from "../../constructs/index.ts";

const STATE = { bucket: "example-team-terraform", region: "eu-central-1", encrypt: true };

/**
 * A host composed into what a team has: its VPC, subnet, KMS key and the address of its own model server come as tokens
 * from the state of another stack; the host's security group goes out as an output for the team's other stacks. State lies
 * in S3, locked there, so that a CI runner with the repository, the state and an admin's key can push.
 */
export class TeamVpcStack extends TerraformStack {
  constructor(scope: Construct, id: string) {
    super(scope, id);
    const backend = new S3Backend(this, { ...STATE, key: "bailiwick/team-vpc.tfstate" });
    backend.addOverride("use_lockfile", true);
    const network = new DataTerraformRemoteStateS3(this, "network", { ...STATE, key: "network.tfstate" });

    const machine = new AwsMachine(this, "machine", {
      instanceType: "m7i.large",
      network: { vpcId: network.getString("vpc_id"), subnetId: network.getString("private_subnet_id") },
      publicIp: false,
      kmsKeyArn: network.getString("kms_key_arn"),
      dataGiB: 50,
      snapshots: { roleArn: network.getString("snapshot_role_arn"), everyHours: 12, keep: 14 },
      protect: true,
      tags: { team: "platform" },
    });
    const host = new AgentHost(this, "platform", {
      machine,
      access: Access.ssh({
        admins: { ada: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEkV2asJ/c/qE3n5UjrlKMnt1kjcLm4YzVGN1UyGEMsU ada" },
        from: [network.getString("vpn_cidr")],
      }),
    });

    const triage = host.addAgent("triage");
    const claude = host.addModel("claude", ModelProvider.anthropic({ apiKey: Secret.fromEnv("ANTHROPIC_API_KEY") }));
    claude.grantInvoke(triage, { models: ["claude-sonnet-4-6"] });
    host.addWorkspace("tickets").grantReadWrite(triage);
    triage.allowEgress("api.example.com");

    new TerraformOutput(this, "security_group", { value: machine.securityGroup.id });
  }
}

const app = new App();
new TeamVpcStack(app, "team-vpc");
app.synth();
