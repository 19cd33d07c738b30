import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { signAttestation } from "./attestation.ts";
import type { Connection } from "./connection.ts";
import { HostTrustError, RemoteCommandError, UnreachableError } from "./errors.ts";
import type { Identity } from "./identity.ts";
import { parseHostKey } from "./public-key.ts";
import { shellQuote } from "./shell-quote.ts";
import type { PinnedTrust } from "./trust.ts";

export interface RotateOptions {
  /** A connection to the host, at first contact or any later one; it is closed. */
  readonly connection: Connection;
  /** What else runs on that connection: it is closed when this has settled too. Default: nothing. */
  readonly beside?: Promise<unknown>;
  /** Name of the host, as in the spec. */
  readonly host: string;
  /** Id of the instance. */
  readonly instance: string;
  /** Name of the admin whose `identity` signs. */
  readonly admin: string;
  readonly identity: Identity;
  /** Connects to the same host again, with this trust and nothing else. */
  readonly reconnect: (trust: PinnedTrust) => Promise<Connection>;
  /** Told each step in a few words. */
  readonly progress?: (step: string) => void;
  /** A shell command that is followed by ` new` or ` install`; default: host-key.sh, sent along, by sudo. */
  readonly command?: string;
}

// sent along, and not of the baseline: user data is scarce, and a mended program must not make a machine be built anew
const PROGRAM = readFileSync(new URL("./host-key.sh", import.meta.url), "utf8");
const HOST_KEY_COMMAND = `sudo -n /bin/sh -c ${shellQuote(PROGRAM)} host-key`;
const NEW_TIMEOUT_MS = 60_000;
// it waits for cloud-init to be done with what is to be destroyed
const INSTALL_TIMEOUT_MS = 180_000;
// Few and growing: every refused key costs an sshd penalty of a second, and it locks us out at fifteen.
const PAUSES_MS = [100, 200, 400, 800, 1500, 3000, 3000];

/**
 * Replaces the host's key by one that has never left the host: a new key is made there, an attestation of it signed
 * here and served by the host from then on, and the old key is proven to be refused. Gives a connection pinned to the
 * new key. After a failure at any point, call it again on the next contact: an unfinished key is replaced.
 * @throws RemoteCommandError if the host's program fails; HostTrustError if the host then shows any key but the new
 * one; Error if it still presents the old one
 */
export async function rotateHostKey(options: RotateOptions): Promise<{ connection: Connection; hostKey: string }> {
  const { connection, host, instance, admin, identity, reconnect, command = HOST_KEY_COMMAND } = options;
  const progress = options.progress ?? (() => {});
  const oldKey = parseHostKey(connection.hostKey);

  progress("making a new host key on the host");
  const made = await run(connection, command, "new", NEW_TIMEOUT_MS);
  const newKey = onlyHostKey(made);
  if (newKey.blob.equals(oldKey.blob)) throw new Error("host-key new printed the key that is already in use");

  progress(`signing ${newKey.fingerprint} as ${admin}`);
  const statement = { admin, at: new Date().toISOString(), host, hostKey: newKey.line, instance };
  const attestation = await signAttestation({ statement, identity });

  progress("installing it and destroying the old one");
  await run(connection, command, "install", INSTALL_TIMEOUT_MS, attestation);
  const closed = Promise.allSettled([options.beside]).then(() => connection.close());

  progress("reconnecting with the new key");
  const renewed = await reconnectToNewKey(reconnect, newKey.line, oldKey.line);
  try {
    progress("proving that the old key is refused");
    await proveRefused(reconnect, oldKey.line, newKey.line);
    await closed;
  } catch (error) {
    await renewed.close();
    throw error;
  }
  return { connection: renewed, hostKey: newKey.line };
}

/**
 * Whether an earlier rotation ran to its end on the host. Ask at every later contact: a host whose `install` was cut
 * short may show its new, attested key while first boot's copies of the bootstrap key still lie there. If not, rotate
 * again.
 * @param root where the host's file system begins; `` by default
 */
export async function rotationIsFinished(connection: Connection, root = ""): Promise<boolean> {
  const path = (name: string) => shellQuote(`${root}/${name}`);
  const leftovers = ["var/lib/cloud/instances", "var/lib/cloud/seed"].map((name) => `&& ! test -e ${path(name)}`);
  const result = await connection.exec(`test -e ${path("etc/bailiwick/claimed")} ${leftovers.join(" ")}`, {
    timeoutMs: NEW_TIMEOUT_MS,
  });
  if (result.code === 0 || result.code === 1) return result.code === 0;
  throw new RemoteCommandError("looking for what first boot left", result);
}

async function run(
  connection: Connection,
  command: string,
  verb: "new" | "install",
  timeoutMs: number,
  stdin?: string,
): Promise<string> {
  const result = await connection.exec(`${command} ${verb}`, {
    timeoutMs,
    ...(stdin === undefined ? {} : { stdin }),
  });
  if (result.code !== 0) throw new RemoteCommandError(`host-key ${verb}`, result);
  return result.stdout;
}

function onlyHostKey(stdout: string) {
  const line = stdout.endsWith("\n") ? stdout.slice(0, -1) : stdout;
  try {
    return parseHostKey(line);
  } catch (error) {
    throw new Error(`host-key new did not print one host key: ${error instanceof Error ? error.message : error}`);
  }
}

/** sshd takes a moment to reload: until then it may be away or show the old key. Any third key ends it at once. */
function reconnectToNewKey(reconnect: RotateOptions["reconnect"], newKey: string, oldKey: string): Promise<Connection> {
  const isReloading = (error: unknown) =>
    error instanceof UnreachableError || (error instanceof HostTrustError && error.shown === oldKey);
  return again(() => reconnect({ kind: "pinned", hostKey: newKey }), isReloading);
}

async function proveRefused(reconnect: RotateOptions["reconnect"], oldKey: string, newKey: string): Promise<void> {
  let answered: Connection;
  try {
    // an sshd that reads its key for each connection shows the new one already before it is away to reload
    answered = await again(
      () => reconnect({ kind: "pinned", hostKey: oldKey }),
      (error) => error instanceof UnreachableError,
    );
  } catch (error) {
    if (error instanceof HostTrustError && error.shown === newKey) return;
    throw error;
  }
  await answered.close();
  throw new Error(
    "the host still presents the old host key beside the new one; it is not safe to send secrets: run the push again",
  );
}

/** Tries until it succeeds, the error is one that does not pass, or the pauses are used up. */
async function again<T>(attempt: () => Promise<T>, passes: (error: unknown) => boolean): Promise<T> {
  for (const pause of PAUSES_MS) {
    try {
      return await attempt();
    } catch (error) {
      if (!passes(error)) throw error;
    }
    await sleep(pause);
  }
  return attempt();
}
