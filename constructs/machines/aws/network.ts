import type { Construct } from "constructs";
import type { AwsSettings } from "./props.ts";
import { AwsLookup, type AwsMeta, AwsResource } from "./resources.ts";

export interface MachineNetwork {
  readonly vpcId: string;
  readonly subnetId: string;
  /** Token for the zone of the subnet, in which the data volume must stand. */
  readonly zone: string;
  /** Network of the subnet: literal, or a token. */
  readonly cidr: string;
  /** What must exist before the instance can reach anything. */
  readonly way: AwsResource[];
}

/** The team's subnet, else the least that leads to the internet: a VPC, one subnet, a gateway. No NAT gateway. */
export function machineNetwork(scope: Construct, { network, vpcCidr }: AwsSettings, meta: AwsMeta): MachineNetwork {
  if (network !== null) {
    const subnet = new AwsLookup(scope, "subnet", "aws_subnet", { id: network.subnetId }, meta.provider);
    return { ...network, zone: subnet.attribute("availability_zone"), cidr: subnet.attribute("cidr_block"), way: [] };
  }
  const dns = { enable_dns_support: true, enable_dns_hostnames: false };
  const vpc = new AwsResource(scope, "vpc", "aws_vpc", { cidr_block: vpcCidr, ...dns }, meta);
  // AWS makes a group that admits its own members; with no rules of ours it admits nothing.
  new AwsResource(scope, "default-group", "aws_default_security_group", { vpc_id: vpc.id }, meta);
  const gateway = new AwsResource(scope, "gateway", "aws_internet_gateway", { vpc_id: vpc.id }, meta);
  const placed = { vpc_id: vpc.id, cidr_block: vpcCidr, map_public_ip_on_launch: false } as const;
  const subnet = new AwsResource(scope, "subnet", "aws_subnet", placed, meta);
  const table = new AwsResource(scope, "routes", "aws_route_table", { vpc_id: vpc.id }, meta);
  // a resource of its own: a table's own `route` is an attribute, of which JSON must name every field
  const route = new AwsResource(
    scope,
    "default-route",
    "aws_route",
    { route_table_id: table.id, destination_cidr_block: "0.0.0.0/0", gateway_id: gateway.id },
    { provider: meta.provider },
  );
  const association = new AwsResource(
    scope,
    "subnet-routes",
    "aws_route_table_association",
    { subnet_id: subnet.id, route_table_id: table.id },
    { provider: meta.provider },
  );
  return {
    vpcId: vpc.id,
    subnetId: subnet.id,
    zone: subnet.attribute("availability_zone"),
    cidr: vpcCidr,
    way: [association, route],
  };
}
