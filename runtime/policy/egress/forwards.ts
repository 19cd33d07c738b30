import { createHash } from "node:crypto";
import { isIP } from "node:net";
import type { HostSpec } from "../../spec/host-spec.ts";
import type { PrincipalId } from "../../spec/names.ts";
import { providerAddress } from "../models/provider-url.ts";

/** One granted port of one name or address, as the firewall and the egress proxy carry it. */
export interface EgressForward {
  readonly principal: PrincipalId;
  /** DNS name or IP address. */
  readonly host: string;
  readonly port: number;
  /** Address that the principal dials: of a name one that stands for it in the principal's own /etc/hosts. */
  readonly dialled: string;
  /** Loopback port of the proxy's frontend that what is dialled is redirected to. */
  readonly frontend: number;
}

/** Below the ports that Linux gives to clients, and above those of principals. */
export const FORWARD_PORTS = { first: 30_000, last: 32_767 } as const;

// The benchmark network (RFC 2544): never public, so no address of it is ever granted or resolved to.
export const STAND_IN_NETWORK = "198.18.0.0/15";
const STAND_INS = { base: (198 << 24) + (18 << 16) + 1, count: 131_070 };

/**
 * The forwards of a host, in the order of their principals, hosts and ports. Frontends and stand-in addresses are hashed
 * from what they are for, so that one grant more or less does not change those of others.
 */
export function egressForwards(spec: HostSpec): EgressForward[] {
  const frontends = new Set<number>();
  const standIns = new Map<string, number>();
  const key = ({ principal, host, port }: HostSpec["grants"]["connect"][number]) => `${principal} ${host} ${port}`;
  const grants = connections(spec).sort((a, b) => (key(a) < key(b) ? -1 : 1));
  return grants.map((grant) => {
    const { host, port } = grant;
    const count = FORWARD_PORTS.last - FORWARD_PORTS.first + 1;
    const frontend = FORWARD_PORTS.first + freeSlot(key(grant), count, (slot) => frontends.has(slot));
    frontends.add(frontend - FORWARD_PORTS.first);
    if (isIP(host) !== 0) return { principal: grant.principal as PrincipalId, host, port, dialled: host, frontend };
    const taken = [...standIns.values()];
    const slot = standIns.get(host) ?? freeSlot(host, STAND_INS.count, (one) => taken.includes(one));
    standIns.set(host, slot);
    return { principal: grant.principal as PrincipalId, host, port, dialled: ipv4(STAND_INS.base + slot), frontend };
  });
}

/** What is granted, and for the gateway each provider that some agent may call and that is named by its address. */
function connections(spec: HostSpec): HostSpec["grants"]["connect"] {
  const all = [...spec.grants.connect];
  for (const [name, model] of Object.entries(spec.models)) {
    const address = spec.grants.invoke.some((grant) => grant.model === name) ? providerAddress(name, model) : null;
    const known = all.some(
      ({ principal, host, port }) => principal === "gateway" && host === address?.host && port === address.port,
    );
    if (address !== null && !known) all.push({ principal: "gateway", ...address });
  }
  return all;
}

/** The place that a text hashes to, or the next that is free. */
function freeSlot(text: string, count: number, taken: (slot: number) => boolean): number {
  const hash = createHash("sha256").update(text).digest().readUInt32BE(0);
  for (let i = 0; i < count; i++) {
    const slot = (hash + i) % count;
    if (!taken(slot)) return slot;
  }
  throw new Error(`grants.connect: received more than ${count} grants; remove some`);
}

function ipv4(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".");
}

/** How a forward is named in the proxy's log and in probes: `git.example.com/22`, `fd00::5/5432`. */
export function forwardLabel({ host, port }: Pick<EgressForward, "host" | "port">): string {
  return `${host}/${port}`;
}
