import { createHash } from "node:crypto";
import * as z from "zod";

/**
 * Names of hosts, agents, models, workspaces, secrets and admins: they become unix users, unit names, file names and
 * nft chains, so they use only what is safe in all of those. 1 to 20 characters, a-z, 0-9 and single hyphens,
 * starting with a letter.
 */
export const NAME_PATTERN = /^[a-z](?:-?[a-z0-9]){0,19}$/;

export const Name = z
  .string()
  .regex(NAME_PATTERN, "must be 1 to 20 of a-z, 0-9 and single hyphens, starting with a letter")
  .max(20, "must be at most 20 characters");

/** Unix uids of principals: no admin, no distribution user is ever given one of these (`UID_MAX` is 19999). */
export const PRINCIPAL_UIDS = { first: 20000, last: 29999 } as const;

/**
 * Principals that every host may have, with fixed uids: the base firewall table, which is the same on every host,
 * exempts the egress proxy by number. Named principals hash into 20100 to 29999.
 */
export const SYSTEM_PRINCIPALS = {
  egress: 20000,
  gateway: 20001,
  guard: 20002,
  resolver: 20003,
} as const;

type SystemPrincipal = keyof typeof SYSTEM_PRINCIPALS;

/** `agent/ops`, `shell/ops` (the commands of agent ops), `model/demo`, `mcp/github`, or one of the system principals. */
export type PrincipalId = SystemPrincipal | `agent/${string}` | `shell/${string}` | `model/${string}` | `mcp/${string}`;

const HASHED_FIRST = 20100;

/**
 * The uid of a principal: fixed for system principals, else the first 32 bits of sha256(id) mapped into 20100 to 29999.
 * Stable across hosts and releases; two names that collide are refused by the spec, which lets one be set explicitly.
 */
export function principalUid(id: PrincipalId): number {
  if (id in SYSTEM_PRINCIPALS) return SYSTEM_PRINCIPALS[id as SystemPrincipal];
  const hash = createHash("sha256").update(id).digest().readUInt32BE(0);
  return HASHED_FIRST + (hash % (PRINCIPAL_UIDS.last - HASHED_FIRST + 1));
}

/** The unix user of a principal: `bw-agent-ops`, `bw-gateway`. At most 29 characters. */
export function principalUser(id: PrincipalId): string {
  return `bw-${id.replace("/", "-")}`;
}

/** The loopback port a principal of its own serves on: uid minus 10000, so 10000 to 19999, unique as the uid is. */
export function principalPort(uid: number): number {
  return uid - 10000;
}

/** The loopback port of a principal's own frontend of the egress proxy: the uid itself, 20000 to 29999. */
export function egressPort(uid: number): number {
  return uid;
}

/** The UDP port on loopback at which the resolver answers a principal with a wildcard: the uid as well. */
export function resolverPort(uid: number): number {
  return uid;
}

/** The one port on which the model gateway serves all agents. */
export const GATEWAY_PORT = 4000;

/** The one port on which the MCP guard serves all agents. */
export const GUARD_PORT = 4100;
/** The port on which the model gateway tells root what it counts: metrics and spending. */
export const GATEWAY_ADMIN_PORT = 4001;
