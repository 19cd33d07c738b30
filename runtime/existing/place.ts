import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { Name } from "../spec/names.ts";
import { type ConnectOptions, connect } from "../ssh/connect.ts";
import type { Connection } from "../ssh/connection.ts";
import { AuthenticationError, HostTrustError, UnreachableError } from "../ssh/errors.ts";
import type { Identity } from "../ssh/identity.ts";
import type { Trust } from "../ssh/trust.ts";

/** An existing machine as Terraform knows it; its steps are given this as JSON in `BAILIWICK_MACHINE`. */
export const Place = z.strictObject({
  host: Name,
  address: z.string().min(1),
  user: z.string().min(1),
  /** `ssh-ed25519 AAAA…`: the machine's own, from before. */
  hostKey: z.string().min(1),
  /** Public key lines by name. */
  admins: z.record(z.string(), z.string()),
  /** What attestations name: another one each time that the machine is taken. */
  instance: z.string().min(1),
});

export type Place = z.infer<typeof Place>;

/** Who acts: an admin of the host. */
export interface Actor {
  readonly admin: string;
  readonly identity: Identity;
}

/** The machine's own host key and nothing else. */
export function pinned({ hostKey }: Pick<Place, "hostKey">): Trust {
  return { kind: "pinned", hostKey };
}

/**
 * Logs in as the first of the accounts that lets the identity in.
 * @throws HostTrustError, UnreachableError; AuthenticationError if none does
 */
export async function connectAsOneOf(
  accounts: readonly string[],
  options: Pick<ConnectOptions, "host" | "identity" | "trust">,
): Promise<{ connection: Connection; account: string }> {
  for (const [i, username] of accounts.entries())
    try {
      return { connection: await connect({ ...options, username, timeoutMs: 30_000 }), account: username };
    } catch (error) {
      if (!(error instanceof AuthenticationError) || i === accounts.length - 1) throw error;
    }
  throw new Error("no account was given");
}

// Few and growing: every refused login costs a penalty of sshd's.
const PAUSES_MS = [300, 700, 1500, 3000];

/** The same while sshd reloads, when it may be away or still show the key it had. */
export async function connectAfterReload(
  accounts: readonly string[],
  options: Pick<ConnectOptions, "host" | "identity" | "trust">,
): Promise<{ connection: Connection; account: string }> {
  for (const pause of PAUSES_MS)
    try {
      return await connectAsOneOf(accounts, options);
    } catch (error) {
      if (!(error instanceof UnreachableError || error instanceof HostTrustError)) throw error;
      await sleep(pause);
    }
  return connectAsOneOf(accounts, options);
}
