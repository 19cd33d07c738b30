import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { loadTemplate, render } from "../../../cloud-init/render.ts";
import { sha256 } from "../../spec/digest.ts";
import { egressPort } from "../../spec/names.ts";
import { NOT_PUBLIC_IPV4, NOT_PUBLIC_IPV6, ofFamily } from "./addresses.ts";
import { forwardLabel } from "./forwards.ts";
import { hasNames, type Principal } from "./principals.ts";

/** The program by which the proxy takes a new configuration. */
export const HAPROXY_RELOAD = readFileSync(new URL("./templates/reload.py", import.meta.url), "utf8");

const template = loadTemplate(new URL("./templates/haproxy.cfg.hbs", import.meta.url));

/** A backend of its own for each grant, by whose name a reload finds the connections of one that is taken back. */
function backend(principal: string, name: string): string {
  return `to_${sha256(`${principal} ${name}`).slice(0, 16)}`;
}

/**
 * Configuration of the egress proxy: a frontend for each principal with a granted name, and one for each other port or
 * address. Not rendered for a host on which
 * nobody has one: HAProxy does not start without a proxy, and nothing would use it.
 * @param ipv6Only whether the host has a way to IPv6 alone, which is then all that a name is tried by
 * @throws if the host has no upstream DNS resolver, since then no name can be resolved
 */
export function renderHaproxy(
  principals: readonly Principal[],
  resolvers: readonly string[],
  ipv6Only: boolean,
): string {
  const addresses = [...ofFamily(4, resolvers), ...ofFamily(6, resolvers)];
  if (addresses.length === 0)
    throw new Error(
      `resolvers: received ${JSON.stringify(resolvers)}; names are granted, so the host needs an upstream DNS resolver: give its network one`,
    );
  return render(template, {
    resolvers: addresses.map((address, i) => ({ name: `dns${i + 1}`, address, v6: isIP(address) === 6 })),
    frontends: principals.filter(hasNames).map(({ id, chain, uid, names, zones }) => ({
      name: chain,
      principal: id,
      ipv6Only,
      port: egressPort(uid),
      names: names.map((name) => ({ name, backend: backend(id, name) })),
      zones: zones.map((zone) => ({ zone, backend: backend(id, `*.${zone}`) })),
      notPublic: [...NOT_PUBLIC_IPV4, ...NOT_PUBLIC_IPV6],
    })),
    forwards: principals.flatMap(({ id, forwards }) =>
      forwards.map((forward) => ({
        principal: id,
        ipv6Only,
        name: `forward_${forward.frontend}`,
        label: forwardLabel(forward),
        frontend: forward.frontend,
        host: forward.host,
        port: forward.port,
        v6: isIP(forward.host) === 6,
        // of a name: where it may not lead; an address was granted as it is
        notPublic: isIP(forward.host) === 0 ? [...NOT_PUBLIC_IPV4, ...NOT_PUBLIC_IPV6] : null,
      })),
    ),
  });
}
