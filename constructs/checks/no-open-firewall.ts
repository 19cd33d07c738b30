import { block, type CheckedHost, type MadeResource, type SynthCheck, wholeInternet } from "./check.ts";

/** No firewall that a machine has lets the whole internet in, unless the host's access says so in words. */
export const noOpenFirewall: SynthCheck = ({ hosts, resources }) => {
  const closed = hosts.filter(({ from }) => !from.some((network) => network.endsWith("/0")));
  const walls = new Set(closed.flatMap(wallsOf));
  return resources
    .filter((resource) => openings(resource, walls).length > 0)
    .map(
      ({ path }) =>
        `${path}: it lets the whole internet in to a host; name the networks, or write Access.anywhere() in the host's access if that is meant`,
    );
};

/** References of the firewalls and security groups that the host's machine has. */
function wallsOf({ resources }: CheckedHost): string[] {
  return resources.flatMap((resource) =>
    resource.type === "hcloud_server" || resource.type === "aws_instance"
      ? ["firewall_ids", "vpc_security_group_ids"].flatMap((name) => referencesIn(resource.attribute(name)))
      : [],
  );
}

function referencesIn(value: unknown): string[] {
  return JSON.stringify(value ?? null).match(/(hcloud_firewall|aws_security_group)\.[A-Za-z0-9_-]+/g) ?? [];
}

function openings(resource: MadeResource, walls: ReadonlySet<string>): string[] {
  const rules = (name: string) => {
    const all = walls.has(resource.reference) ? resource.attribute(name) : [];
    return (Array.isArray(all) ? all : []).map((rule) => block(rule));
  };
  switch (resource.type) {
    case "hcloud_firewall":
      return rules("rule").flatMap((rule) => (rule?.direction === "in" ? wholeInternet(rule.source_ips) : []));
    case "aws_security_group":
      return rules("ingress").flatMap((rule) => [
        ...wholeInternet(rule?.cidr_blocks),
        ...wholeInternet(rule?.ipv6_cidr_blocks),
      ]);
    case "aws_vpc_security_group_ingress_rule":
      return referencesIn(resource.attribute("security_group_id")).some((group) => walls.has(group))
        ? [...wholeInternet(resource.attribute("cidr_ipv4")), ...wholeInternet(resource.attribute("cidr_ipv6"))]
        : [];
    default:
      return [];
  }
}
