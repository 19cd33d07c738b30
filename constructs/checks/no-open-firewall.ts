import { block, type CheckedHost, type MadeResource, type SynthCheck, wholeInternet } from "./check.ts";

/** No firewall that a machine has lets the whole internet in, unless the host's access says so in words. */
export const noOpenFirewall: SynthCheck = ({ hosts, resources }) =>
  hosts
    .filter(({ from }) => !from.some((network) => network.endsWith("/0")))
    .flatMap((host) => resources.flatMap((resource) => openings(host, resource)))
    .map(
      (path) =>
        `${path}: it lets the whole internet in to a host; name the networks, or write Access.anywhere() in the host's access if that is meant`,
    );

function openings(host: CheckedHost, resource: MadeResource): string[] {
  const of = (attribute: string) => JSON.stringify(resource.attribute(attribute) ?? null);
  const onMachine = (type: string, attribute: string) => {
    const users = host.resources.filter((one) => one.type === type);
    return users.some((one) => JSON.stringify(one.attribute(attribute) ?? []).includes(`${resource.reference}.id`));
  };
  const open = (networks: unknown) => (wholeInternet(networks).length > 0 ? [resource.path] : []);
  const group = host.resources.find(({ type }) => type === "aws_security_group");
  switch (resource.type) {
    case "hcloud_firewall": {
      if (!onMachine("hcloud_server", "firewall_ids")) return [];
      const rules = resource.attribute("rule");
      return (Array.isArray(rules) ? rules : [])
        .map((rule) => block(rule))
        .flatMap((rule) => (rule?.direction === "in" ? open(rule.source_ips) : []));
    }
    case "aws_security_group": {
      if (!onMachine("aws_instance", "vpc_security_group_ids")) return [];
      const rules = resource.attribute("ingress");
      return (Array.isArray(rules) ? rules : [])
        .map((rule) => block(rule))
        .flatMap((rule) => [...open(rule?.cidr_blocks), ...open(rule?.ipv6_cidr_blocks)]);
    }
    case "aws_vpc_security_group_ingress_rule":
      if (group === undefined || !of("security_group_id").includes(`${group.reference}.id`)) return [];
      return [...open(resource.attribute("cidr_ipv4")), ...open(resource.attribute("cidr_ipv6"))];
    default:
      return [];
  }
}
