import { isIP } from "node:net";
import { loadTemplate, render } from "../../../cloud-init/render.ts";
import type { HostSpec } from "../../spec/host-spec.ts";
import { VIRTUAL_GATEWAY } from "../../spec/local-network.ts";
import {
  egressPort,
  GATEWAY_ADMIN_PORT,
  GATEWAY_PORT,
  GUARD_PORT,
  principalUid,
  resolverPort,
} from "../../spec/names.ts";
import { ownsTables, refusesBinds } from "../../spec/operating-system.ts";
import { usesGuard } from "../tools/callers.ts";
import { IPV4_MAPPED, METADATA_IPV4, METADATA_IPV6, NOT_PUBLIC_IPV4, NOT_PUBLIC_IPV6, ofFamily } from "./addresses.ts";
import { frontendsOf, hasNames, type Principal } from "./principals.ts";

const template = loadTemplate(new URL("./templates/firewall.nft.hbs", import.meta.url));

/**
 * Table `inet bailiwick` of a release, as a file for `nft -f` that replaces the table in one transaction.
 * @param spec with its bindings resolved
 * @param principals of that spec, from `hostPrincipals`
 * @param resolvers addresses of the host's upstream DNS resolvers: the egress proxy's alone
 * @throws if a network of the spec is still a binding
 */
export function renderFirewall(spec: HostSpec, principals: readonly Principal[], resolvers: readonly string[]): string {
  const from = spec.access.from.map((network, i) => {
    if (typeof network === "string") return network;
    throw new Error(`access.from[${i}]: received ${JSON.stringify(network)}; resolve the spec's bindings first`);
  });
  // the operator's forward; into a container it comes by loopback, which no rule holds
  if (spec.machine.kind === "local" && spec.machine.engine === "qemu") from.push(`${VIRTUAL_GATEWAY}/32`);
  return render(template, {
    owned: ownsTables(spec.os),
    admins4: ofFamily(4, from),
    admins6: ofFamily(6, from),
    relayedDns: spec.machine.kind === "local" && principals.some(({ kind }) => kind === "egress"),
    egress: principalUid("egress"),
    metadata4: METADATA_IPV4,
    metadata6: METADATA_IPV6,
    redirected: principals.filter(hasNames).map(({ uid }) => ({ uid, egressPort: egressPort(uid) })),
    asking: principals
      .filter(({ zones }) => zones.length > 0)
      .map(({ uid }) => ({ uid, resolverPort: resolverPort(uid) })),
    forwards: principals.flatMap(({ uid, forwards }) =>
      forwards.map(({ dialled, port, frontend }) => ({ uid, dialled, port, frontend, v6: isIP(dialled) === 6 })),
    ),
    strays: refusesBinds(spec.os)
      ? []
      : principals.map((one) => ({ uid: one.uid, ports: servedPorts(one, principals) })),
    ownedPorts: ownedPorts(principals),
    principals: principals.map((principal) => chain(spec, principals, principal, resolvers)),
  });
}

function ownedPorts(principals: readonly Principal[]): number[] {
  const served = principals.flatMap(({ port }) => (port === null ? [] : [port]));
  const admin = principals.some(({ kind }) => kind === "gateway") ? [GATEWAY_ADMIN_PORT] : [];
  return [...served, ...admin, ...principals.flatMap(frontendsOf)].sort((a, b) => a - b);
}

/** Loopback ports that a principal itself serves on: the egress proxy on those of all others. */
function servedPorts({ kind, port }: Principal, all: readonly Principal[]): number[] {
  if (kind === "egress") return all.flatMap(frontendsOf).sort((a, b) => a - b);
  return [...(port === null ? [] : [port]), ...(kind === "gateway" ? [GATEWAY_ADMIN_PORT] : [])];
}

function chain(spec: HostSpec, all: readonly Principal[], principal: Principal, resolvers: readonly string[]) {
  const egress = principal.kind === "egress";
  const own = [...(principal.port === null ? [] : [principal.port]), ...frontendsOf(principal)];
  const forwards = egress ? all.flatMap((other) => other.forwards) : [];
  const named = forwards.filter(({ host }) => isIP(host) === 0);
  return {
    id: principal.id,
    chain: principal.chain,
    uid: principal.uid,
    public: egress,
    resolverPort: principal.zones.length > 0 ? resolverPort(principal.uid) : null,
    addresses: unique(
      forwards
        .filter((forward) => !named.includes(forward))
        .map(({ host, port }) => ({ host, port, v6: isIP(host) === 6 })),
    ),
    publicPorts: [...new Set([443, ...named.map(({ port }) => port)])].sort((a, b) => a - b),
    resolvers4: egress ? ofFamily(4, resolvers) : [],
    resolvers6: egress ? ofFamily(6, resolvers) : [],
    notPublic4: [...NOT_PUBLIC_IPV4],
    notPublic6: [...NOT_PUBLIC_IPV6, IPV4_MAPPED],
    ports4: [...own, ...grantedPorts(spec, all, principal)].sort((a, b) => a - b),
    // what is granted listens on 127.0.0.1; only a principal's own port and its egress frontend are on ::1 as well
    ports6: own.sort((a, b) => a - b),
  };
}

/**
 * Loopback ports of other principals: the gateway's for an agent that may call a model, the guard's for one that may call a
 * tool or has a shell, a demo model's for the gateway.
 */
function grantedPorts(spec: HostSpec, all: readonly Principal[], { kind, name }: Principal): number[] {
  if (kind === "agent")
    return [
      ...(spec.grants.invoke.some(({ agent }) => agent === name) ? [GATEWAY_PORT] : []),
      ...(usesGuard(spec, name) ? [GUARD_PORT] : []),
    ];
  if (kind !== "gateway") return [];
  return all.flatMap((other) =>
    other.kind === "model" && other.port !== null && spec.grants.invoke.some(({ model }) => model === other.name)
      ? [other.port]
      : [],
  );
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()];
}
