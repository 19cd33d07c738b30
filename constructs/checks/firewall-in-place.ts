import type { SynthCheck } from "./check.ts";

/** A Hetzner server names its own firewall in its creation. */
export const firewallInPlace: SynthCheck = ({ hosts }) =>
  hosts.flatMap(({ resources }) => {
    const walls = resources.filter(({ type }) => type === "hcloud_firewall");
    const servers = resources.filter(({ type }) => type === "hcloud_server");
    return servers
      .filter((server) => {
        const ids = JSON.stringify(server.attribute("firewall_ids") ?? []);
        return !walls.some(({ reference }) => ids.includes(`${reference}.id`));
      })
      .map(
        ({ path }) =>
          `${path}: firewall_ids does not name the machine's own firewall, so everything would come in; leave firewall_ids as it is and give more by the machine's firewallIds`,
      );
  });
