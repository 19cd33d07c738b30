import { isIP } from "node:net";
import { loadTemplate, render } from "../../../cloud-init/render.ts";
import { PLACEHOLDER_IPV4 } from "./addresses.ts";
import type { EgressForward } from "./forwards.ts";

const template = loadTemplate(new URL("./templates/hosts.hbs", import.meta.url));

/**
 * A principal's own `/etc/hosts`: localhost and its granted names, exactly, at addresses that are never reached. Names of
 * which another port is granted have one of their own, by which the firewall knows them.
 */
export function renderHosts(names: readonly string[], forwards: readonly EgressForward[] = []): string {
  const standIns = new Map(forwards.filter(({ host }) => isIP(host) === 0).map(({ host, dialled }) => [host, dialled]));
  const all = [...new Set([...names, ...standIns.keys()])].sort();
  return render(template, { names: all.map((name) => ({ name, address: standIns.get(name) ?? PLACEHOLDER_IPV4 })) });
}

/** The `/etc/resolv.conf` of a principal with a wildcard: what it asks there comes to its own port of the resolver. */
export const OWN_RESOLVER = "nameserver 127.0.0.1\noptions timeout:1 attempts:2\n";

/** Any other principal's `/etc/resolv.conf`: it has no resolver, so no question of its own ever leaves the host. */
export const NO_RESOLVER = "# no resolver: granted names stand in /etc/hosts\n";
