import { randomBytes } from "node:crypto";
import type { PendingCall } from "../../spec/guard-admin.ts";

/** What an approval is bound to: this call and no other, of this tool as it was reviewed. */
export interface Bound {
  readonly agent: string;
  readonly server: string;
  readonly tool: string;
  /** Hash of the tool's pinned definition. */
  readonly definition: string;
  readonly argumentsHash: string;
}

interface Entry {
  readonly bound: Bound;
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly at: number;
  expires: number;
  approver: string | null;
}

interface Bounds {
  readonly pendingApprovals: number;
  readonly pendingMs: number;
  readonly approvalMs: number;
}

/** Calls of tools that write: they wait here until an admin approves them, and are then good for one call. */
export class Approvals {
  readonly #bounds: Bounds;
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry>();

  constructor(bounds: Bounds, now: () => number = Date.now) {
    this.#bounds = bounds;
    this.#now = now;
  }

  /** Puts a call before the admins; the id they approve it by. The same call again is the same id. Undefined: too many wait. */
  ask(bound: Bound, args: Readonly<Record<string, unknown>>): string | undefined {
    this.#expire();
    const known = this.#find(bound);
    if (known !== undefined) return known[0];
    const waiting = [...this.#entries.values()].filter((entry) => entry.bound.agent === bound.agent);
    if (waiting.length >= this.#bounds.pendingApprovals) return undefined;
    const id = randomBytes(4).toString("hex");
    const at = this.#now();
    const expires = at + this.#bounds.pendingMs;
    this.#entries.set(id, { bound, arguments: structuredClone(args), at, expires, approver: null });
    return id;
  }

  /** Whether this very call is approved and the approval not used yet. */
  has(bound: Bound): boolean {
    this.#expire();
    return (this.#find(bound)?.[1].approver ?? null) !== null;
  }

  /** Uses the approval of this very call up; who gave it, or undefined if there is none (any more). */
  take(bound: Bound): string | undefined {
    this.#expire();
    const [id, entry] = this.#find(bound) ?? [];
    if (id === undefined || entry === undefined || entry.approver === null) return undefined;
    this.#entries.delete(id);
    return entry.approver;
  }

  /** Calls that wait, oldest first. */
  pending(): PendingCall[] {
    this.#expire();
    return [...this.#entries].filter(([, entry]) => entry.approver === null).map(([id, entry]) => shown(id, entry));
  }

  /** Approves or denies a call that waits; undefined if none of that id does. */
  settle(id: string, verdict: "approve" | "deny", by: string): PendingCall | undefined {
    this.#expire();
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.approver !== null) return undefined;
    const call = shown(id, entry);
    if (verdict === "deny") this.#entries.delete(id);
    else {
      entry.approver = by;
      entry.expires = this.#now() + this.#bounds.approvalMs;
    }
    return call;
  }

  #find(bound: Bound): [string, Entry] | undefined {
    return [...this.#entries].find(([, entry]) =>
      (Object.keys(bound) as (keyof Bound)[]).every((key) => entry.bound[key] === bound[key]),
    );
  }

  #expire(): void {
    const now = this.#now();
    for (const [id, { expires }] of this.#entries) if (expires <= now) this.#entries.delete(id);
  }
}

function shown(id: string, { bound, arguments: args, at, expires }: Entry): PendingCall {
  const { agent, server, tool, argumentsHash } = bound;
  const time = (ms: number) => new Date(ms).toISOString();
  return { id, agent, server, tool, arguments: { ...args }, argumentsHash, at: time(at), expiresAt: time(expires) };
}
