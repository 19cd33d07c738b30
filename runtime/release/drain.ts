import { readFileSync } from "node:fs";
import type { Connection } from "../ssh/connection.ts";
import { RemoteCommandError } from "../ssh/errors.ts";
import { shellQuote } from "../ssh/shell-quote.ts";

// sent along: a mended program must not make a machine be built anew
const PROGRAM = readFileSync(new URL("./drain.sh", import.meta.url), "utf8");
/** Every unit has 30 s to end before systemd kills it, and some end after others. */
const TIMEOUT_MS = 180_000;

/**
 * Stops all that a release runs, and unmounts the data volume, so that it can be taken off the machine with
 * nothing left to write. The machine itself goes on; the next push makes it serve again.
 * @throws RemoteCommandError, UnreachableError; Error if the volume is still in use
 */
export async function drain(connection: Connection): Promise<void> {
  const ran = await connection.exec(`sudo -n /bin/sh -c ${shellQuote(PROGRAM)}`, { timeoutMs: TIMEOUT_MS });
  const said = ran.stdout.trim();
  if (said === "unmounted") return;
  if (said === "mounted") throw new Error(`its data volume is still in use: ${ran.stderr.trim()}`);
  throw new RemoteCommandError("stopping what runs", ran);
}
