import type { ITerraformDependable, TerraformProvider } from "cdktf";
import type { Construct } from "constructs";
import { Network } from "../../imports/hcloud/network/index.ts";
import { NetworkSubnet } from "../../imports/hcloud/network-subnet/index.ts";
import type { HetznerSettings } from "./props.ts";

export interface SubnetProps {
  readonly provider: TerraformProvider;
  readonly host: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly network: HetznerSettings["privateNetwork"];
}

/** The subnet that the server joins: by its id, since a network alone would mean whichever of its subnets is last. */
export interface ServerSubnet {
  readonly id: string;
  readonly ip: string | null;
  /** What makes it: servers must wait for it by name. Null if it is not made here. */
  readonly resource: ITerraformDependable | null;
}

export function subnetOf(scope: Construct, { provider, host, labels, network }: SubnetProps): ServerSubnet | null {
  if (network === null) return null;
  const ip = network.ip ?? null;
  if ("subnetId" in network) return { id: network.subnetId, ip, resource: null };
  const made = new Network(scope, "network", { provider, name: host, ipRange: network.range, labels: { ...labels } });
  const subnet = new NetworkSubnet(scope, "subnet", {
    provider,
    networkId: made.getNumberAttribute("id"),
    type: "cloud",
    networkZone: network.zone,
    ipRange: network.subnet,
  });
  return { id: subnet.id, ip, resource: subnet };
}
