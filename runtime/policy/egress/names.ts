import type { HostSpec } from "../../spec/host-spec.ts";
import type { PrincipalId } from "../../spec/names.ts";
import { providerAddress, providerUrl } from "../models/provider-url.ts";

/**
 * The exact TLS server names a principal may reach, sorted: its grants, and for the gateway the host of every provider
 * that some agent may call and that is named by its name. A provider that no agent may call is not reachable. The guard reaches each remote MCP server, since
 * its tools are pinned before anything of it is granted.
 */
export function egressNames(spec: HostSpec, principal: PrincipalId): string[] {
  const names = new Set(grantedTo(spec, principal).filter((name) => !isWildcard(name)));
  if (principal === "gateway")
    for (const [name, model] of Object.entries(spec.models)) {
      const url = providerUrl(name, model);
      if (
        url !== null &&
        providerAddress(name, model) === null &&
        spec.grants.invoke.some((grant) => grant.model === name)
      )
        names.add(new URL(url).hostname);
    }
  if (principal === "guard")
    for (const { source } of Object.values(spec.mcpServers ?? {}))
      if (source.kind === "remote") names.add(new URL(source.url).hostname);
  return [...names].sort();
}

/** The names below which a principal may reach every one of one label, sorted: `example.com` for `*.example.com`. */
export function egressZones(spec: HostSpec, principal: PrincipalId): string[] {
  const zones = grantedTo(spec, principal).flatMap((name) => (isWildcard(name) ? [name.slice("*.".length)] : []));
  return [...new Set(zones)].sort();
}

function isWildcard(name: string): boolean {
  return name.startsWith("*.");
}

function grantedTo(spec: HostSpec, principal: PrincipalId): string[] {
  return spec.grants.egress.filter((grant) => grant.principal === principal).map(({ name }) => name);
}
