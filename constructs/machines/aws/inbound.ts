import { Fn, Op, Token } from "cdktf";
import type { Construct } from "constructs";
import type { MachineNetwork } from "./network.ts";
import { type AwsMeta, AwsResource } from "./resources.ts";

export interface InboundProps {
  readonly host: string;
  readonly network: MachineNetwork;
  readonly meta: AwsMeta;
}

/** The instance's group: nothing in by itself, everything out, which the host's own rules narrow per principal. */
export function instanceGroup(scope: Construct, { host, network, meta }: InboundProps): AwsResource {
  const group = securityGroup(scope, "group", `${host}-`, `bailiwick host ${host}`, { host, network, meta });
  for (const [id, everywhere] of Object.entries({ out4: { cidr_ipv4: "0.0.0.0/0" }, out6: { cidr_ipv6: "::/0" } }))
    rule(scope, id, "egress", { ...everywhere, ip_protocol: "-1", description: "out" }, group, meta);
  return group;
}

/** SSH from each of the networks. What a token stands for is seen by Terraform alone: its family, and that it is not all. */
export function admitNetworks(scope: Construct, from: readonly string[], group: AwsResource, meta: AwsMeta): void {
  const ssh = { ip_protocol: "tcp", from_port: 22, to_port: 22, description: "SSH from an admin's network" };
  for (const [i, network] of from.entries()) {
    if (!Token.isUnresolved(network)) {
      const address = network.includes(":") ? { cidr_ipv6: network } : { cidr_ipv4: network };
      rule(scope, `ssh-${i}`, "ingress", { ...ssh, ...address }, group, meta);
      continue;
    }
    const six = Fn.strcontains(network, ":");
    const nothing = Token.nullValue();
    const address = {
      cidr_ipv4: Token.asString(Fn.conditional(six, nothing, network)),
      cidr_ipv6: Token.asString(Fn.conditional(six, network, nothing)),
    };
    const precondition = {
      condition: Op.not(Fn.endswith(network, "/0")),
      errorMessage: "Access from: a token stands for the whole internet; write Access.anywhere() if it is meant",
    };
    const lifecycle = { precondition: [precondition] };
    rule(scope, `ssh-${i}`, "ingress", { ...ssh, ...address }, group, { ...meta, lifecycle });
  }
}

/**
 * An EC2 Instance Connect Endpoint, and SSH from its group alone. Its group lets out nothing but SSH to the instance.
 * @returns the endpoint
 */
export function admitEndpoint(scope: Construct, props: InboundProps, group: AwsResource): AwsResource {
  const { host, network, meta } = props;
  const own = securityGroup(scope, "endpoint-group", `${host}-endpoint-`, `way to bailiwick host ${host}`, props);
  const ssh = { ip_protocol: "tcp", from_port: 22, to_port: 22 };
  const fromEndpoint = { ...ssh, referenced_security_group_id: own.id, description: "SSH from the endpoint" };
  rule(scope, "ssh-endpoint", "ingress", fromEndpoint, group, meta);
  const toInstance = { ...ssh, referenced_security_group_id: group.id, description: "SSH to the instance" };
  rule(scope, "endpoint-out", "egress", toInstance, own, meta);
  return new AwsResource(
    scope,
    "endpoint",
    "aws_ec2_instance_connect_endpoint",
    { subnet_id: network.subnetId, security_group_ids: [own.id], preserve_client_ip: false },
    meta,
  );
}

function securityGroup(
  scope: Construct,
  id: string,
  name_prefix: string,
  description: string,
  { network, meta }: InboundProps,
): AwsResource {
  return new AwsResource(scope, id, "aws_security_group", { name_prefix, description, vpc_id: network.vpcId }, meta);
}

type Rule = ConstructorParameters<typeof AwsResource<"aws_vpc_security_group_ingress_rule">>[3];

function rule(
  scope: Construct,
  id: string,
  direction: "ingress" | "egress",
  given: Omit<Rule, "security_group_id">,
  group: AwsResource,
  meta: AwsMeta,
): void {
  const type = `aws_vpc_security_group_${direction}_rule` as const;
  new AwsResource(scope, id, type, { ...given, security_group_id: group.id }, meta);
}
