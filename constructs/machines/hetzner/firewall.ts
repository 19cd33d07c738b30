import { Fn, Op, type Precondition, type TerraformProvider, Token } from "cdktf";
import type { Construct } from "constructs";
import { Firewall } from "../../imports/hcloud/firewall/index.ts";

export interface SshFirewallProps {
  readonly provider: TerraformProvider;
  readonly host: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Networks in CIDR form, literal or tokens. */
  readonly from: readonly string[];
}

/** Hetzner takes at most this many networks in a rule. */
const NETWORKS_PER_RULE = 100;

/** SSH from the given networks; Hetzner drops all else that comes in as soon as a firewall has a rule. */
export function sshFirewall(scope: Construct, { provider, host, labels, from }: SshFirewallProps): Firewall {
  const groups: string[][] = [];
  for (let i = 0; i < from.length; i += NETWORKS_PER_RULE) groups.push(from.slice(i, i + NETWORKS_PER_RULE));
  const precondition = from.filter((one) => Token.isUnresolved(one)).map(notTheWholeInternet);
  return new Firewall(scope, "firewall", {
    provider,
    name: host,
    labels: { ...labels },
    rule: groups.map((sourceIps) => ({ direction: "in", protocol: "tcp", port: "22", sourceIps })),
    ...(precondition.length === 0 ? {} : { lifecycle: { precondition } }),
  });
}

/** A literal /0 is from `Access.anywhere()`; what a token stands for is seen by Terraform alone. */
function notTheWholeInternet(network: string): Precondition {
  return {
    condition: Op.not(Fn.endswith(network, "/0")),
    errorMessage: "Access from: a token stands for the whole internet; write Access.anywhere() if it is meant",
  };
}
