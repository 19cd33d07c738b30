import { App, Fn, TerraformStack } from "cdktf";
import type { Construct } from "constructs";
import { Access, AgentHost, HetznerMachine, hcloud, ModelProvider, Secret } from "../../constructs/index.ts";

const TEAMS = {
  sales: { location: "fsn1", models: ["claude-haiku-4-5"], names: ["api.example.com"] },
  support: { location: "fsn1", models: ["claude-sonnet-4-6"], names: ["api.example.com", "status.example.com"] },
  research: { location: "fsn1", models: ["claude-sonnet-4-6"], names: [] },
} as const;

/** A host for each team, by a loop: values such as `access` and the model are shared, grants are each host's own. */
export class FleetStack extends TerraformStack {
  constructor(scope: Construct, id: string) {
    super(scope, id);
    const provider = new hcloud.provider.HcloudProvider(this, "hcloud");
    const spread = new hcloud.placementGroup.PlacementGroup(this, "spread", {
      provider,
      name: "agents",
      type: "spread",
    });
    const network = new hcloud.network.Network(this, "network", { provider, name: "agents", ipRange: "10.20.0.0/16" });
    const subnet = new hcloud.networkSubnet.NetworkSubnet(this, "subnet", {
      provider,
      networkId: Fn.tonumber(network.id) as unknown as number,
      type: "cloud",
      networkZone: "eu-central",
      ipRange: "10.20.1.0/24",
    });

    const access = Access.fromEnv({ key: "BAILIWICK_ADMIN_KEY", from: "BAILIWICK_ADMIN_CIDR" });
    const anthropic = ModelProvider.anthropic({ apiKey: Secret.fromEnv("ANTHROPIC_API_KEY") });
    for (const [team, { location, models, names }] of Object.entries(TEAMS)) {
      const host = new AgentHost(this, team, {
        machine: new HetznerMachine(this, `${team}-machine`, {
          serverType: "cx23",
          location,
          placementGroupId: spread.id,
          privateNetwork: { subnetId: subnet.id },
          labels: { team },
        }),
        access,
      });
      const agent = host.addAgent("main");
      host.addModel("claude", anthropic).grantInvoke(agent, { models: [...models] });
      host.addWorkspace("desk").grantReadWrite(agent);
      for (const name of names) agent.allowEgress(name);
    }
  }
}

const app = new App();
new FleetStack(app, "fleet");
app.synth();
