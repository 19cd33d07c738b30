import type { HostSpec } from "../../spec/host-spec.ts";
import {
  egressPort,
  GATEWAY_PORT,
  GUARD_PORT,
  type PrincipalId,
  principalPort,
  principalUid,
  principalUser,
} from "../../spec/names.ts";
import { type EgressForward, egressForwards } from "./forwards.ts";
import { egressNames, egressZones } from "./names.ts";

/** A principal of one host, as the firewall, the egress proxy and systemd know it. */
export interface Principal {
  readonly id: PrincipalId;
  readonly kind: "egress" | "resolver" | "gateway" | "guard" | "model" | "mcp" | "shell" | "agent";
  /** Name of the agent (also of its shell), model or MCP server; the kind itself for the others. */
  readonly name: string;
  readonly uid: number;
  readonly user: string;
  /** Unit name without `.service`: `bailiwick-agent-ops`. */
  readonly unit: string;
  /** Chain in nft table `inet bailiwick`. */
  readonly chain: string;
  /**
   * Loopback port it serves on. Null for the egress proxy and the resolver, whose ports are those of the principals they
   * serve, and for MCP servers and shells, which serve on a unix socket.
   */
  readonly port: number | null;
  /** Exact TLS server names it may reach. */
  readonly names: readonly string[];
  /** Names below which it may reach every one of one label, and which it may ask the resolver for. */
  readonly zones: readonly string[];
  /** Other ports of names, and ports of addresses, that it may reach. */
  readonly forwards: readonly EgressForward[];
}

/**
 * The principals of a host in the order in which they start. The egress proxy is one only if some other principal has a
 * name to reach, the resolver only if one of these is a wildcard, the gateway only if there is a model or a name granted to it,
 * the guard only if there is an MCP server or a shell: what
 * has no use has no process.
 */
export function hostPrincipals(spec: HostSpec): Principal[] {
  const models = byName(spec.models).flatMap(([name, { uid }]) =>
    uid === null ? [] : [principal(spec, `model/${name}`, "model", name, uid, `model_${name}`, principalPort(uid))],
  );
  const gatewayUid = principalUid("gateway");
  const gateway = principal(spec, "gateway", "gateway", "gateway", gatewayUid, "model_gateway", GATEWAY_PORT);
  const agents = byName(spec.agents).map(([name, { uid }]) =>
    principal(spec, `agent/${name}`, "agent", name, uid, `agent_${name}`, principalPort(uid)),
  );
  const hasGateway = Object.keys(spec.models).length > 0 || usesEgress(gateway);
  const servers = byName(spec.mcpServers ?? {});
  const mcp = servers.flatMap(([name, { uid }]) =>
    uid === null ? [] : [principal(spec, `mcp/${name}`, "mcp", name, uid, `mcp_${name}`, null)],
  );
  const shells = [...(spec.grants.shell ?? [])]
    .sort((a, b) => (a.agent < b.agent ? -1 : 1))
    .map(({ agent, uid }) => principal(spec, `shell/${agent}`, "shell", agent, uid, `shell_${agent}`, null));
  const guard = principal(spec, "guard", "guard", "guard", principalUid("guard"), "tool_guard", GUARD_PORT);
  const others = [
    ...models,
    ...(hasGateway ? [gateway] : []),
    ...mcp,
    ...shells,
    ...(servers.length > 0 || shells.length > 0 ? [guard] : []),
    ...agents,
  ];
  if (!others.some(usesEgress)) return others;
  const proxy = principal(spec, "egress", "egress", "egress", principalUid("egress"), "egress_proxy", null);
  const resolver = principal(spec, "resolver", "resolver", "resolver", principalUid("resolver"), "name_resolver", null);
  return [proxy, ...(others.some(({ zones }) => zones.length > 0) ? [resolver] : []), ...others];
}

/** Whether something is granted to a principal that the egress proxy carries. */
export function usesEgress(principal: Principal): boolean {
  return hasNames(principal) || principal.forwards.length > 0;
}

/** Whether a principal may reach some name by TLS, on TCP 443. */
export function hasNames({ names, zones }: Pick<Principal, "names" | "zones">): boolean {
  return names.length > 0 || zones.length > 0;
}

/** Loopback ports of the egress proxy that are a principal's own. */
export function frontendsOf(principal: Principal): number[] {
  const { uid, forwards } = principal;
  return [...(hasNames(principal) ? [egressPort(uid)] : []), ...forwards.map(({ frontend }) => frontend)];
}

/** Whether systemd starts a process of a principal for each connection to its socket: MCP servers and shells. */
export function isSocketActivated({ kind }: Pick<Principal, "kind">): boolean {
  return kind === "mcp" || kind === "shell";
}

/** Whether a principal has no network at all, not even loopback: one behind a socket to which nothing is granted there. */
export function isOffline(principal: Principal): boolean {
  return isSocketActivated(principal) && !usesEgress(principal);
}

/**
 * Name of a principal's service for systemd. One behind a socket is a template, of which each connection starts an instance;
 * the one that this names never runs, and shows what all of them are.
 */
export function serviceName({ kind, unit }: Pick<Principal, "kind" | "unit">): string {
  return isSocketActivated({ kind }) ? `${unit}@verify.service` : `${unit}.service`;
}

/** Entries of a record in code point order of their keys, so that what is rendered does not depend on insertion order. */
export function byName<T>(record: Readonly<Record<string, T>>): [string, T][] {
  return Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));
}

function principal(
  spec: HostSpec,
  id: PrincipalId,
  kind: Principal["kind"],
  name: string,
  uid: number,
  chain: string,
  port: number | null,
): Principal {
  return {
    id,
    kind,
    name,
    uid,
    user: principalUser(id),
    unit: `bailiwick-${id.replace("/", "-")}`,
    chain: chain.replaceAll("-", "_"),
    port,
    names: id === "egress" ? [] : egressNames(spec, id),
    zones: egressZones(spec, id),
    forwards: egressForwards(spec).filter((forward) => forward.principal === id),
  };
}
