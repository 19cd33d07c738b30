import { readFileSync } from "node:fs";
import type { Connection } from "../ssh/connection.ts";
import { AuthenticationError, HostTrustError, UnreachableError } from "../ssh/errors.ts";
import { madeFiles } from "./changes.ts";
import { type Actor, connectAfterReload, connectAsOneOf, type Place, pinned } from "./place.ts";
import { rootShell } from "./root-shell.ts";

const LEAVE = readFileSync(new URL("./leave.sh", import.meta.url), "utf8");
const FAREWELL = readFileSync(new URL("./farewell.sh", import.meta.url), "utf8");
const TIMEOUT_MS = 180_000;

/**
 * Takes everything of the kit off a machine and puts back what was there before: its host key, its accounts' keys and sudo,
 * the files that were replaced. The data volume stays as it is.
 * @returns what stays, one line each
 * @throws HostTrustError if neither the machine's own host key nor an attested one is shown; UnreachableError;
 *   RemoteCommandError
 */
export async function leave(place: Place, actor: Actor, progress: (line: string) => void): Promise<string[]> {
  const { address, user, hostKey, admins, host, instance } = place;
  const { admin, identity } = actor;
  const trust = {
    kind: "bootstrap-or-attested",
    bootstrap: hostKey,
    attested: { admins, host, instance },
  } as const;
  const { connection } = await reached(place, () => connectAsOneOf([admin, user], { host: address, identity, trust }));
  let stays: string[];
  try {
    progress("taking the kit's own away");
    stays = await takeAway(connection);
  } finally {
    await connection.close();
  }
  progress(`proving that ${user} is let in, by the machine's own host key`);
  try {
    const own = await connectAfterReload([user], { host: address, identity, trust: pinned(place) });
    try {
      await rootShell(own.connection, FAREWELL, {}, "removing the admins' accounts", TIMEOUT_MS);
    } finally {
      await own.connection.close();
    }
  } catch (error) {
    if (!(error instanceof AuthenticationError)) throw error;
    stays.push(`the admins' accounts, since "${user}" is not let in with the key of ${admin}`);
  }
  return stays;
}

/** The same over a session of another account than the admins', which goes on. */
export async function leaveOver(connection: Connection): Promise<void> {
  await takeAway(connection);
  await rootShell(connection, FAREWELL, {}, "removing the admins' accounts", TIMEOUT_MS);
}

async function takeAway(connection: Connection): Promise<string[]> {
  // the admins' sudo goes last, with their accounts
  const files = madeFiles().filter((path) => path !== "/etc/sudoers.d/bailiwick");
  const text = await rootShell(connection, LEAVE, { files: files.join(" ") }, "taking the kit's own away", TIMEOUT_MS);
  return text.trim().split("\n").filter(Boolean);
}

async function reached<T>({ host }: Place, attempt: () => Promise<T>): Promise<T> {
  try {
    return await attempt();
  } catch (error) {
    if (!(error instanceof UnreachableError || error instanceof HostTrustError)) throw error;
    error.message += `\n${host}: if that machine is gone, or is not to be touched, set onDestroy: "leave" on it and run this again`;
    throw error;
  }
}
