import type { Connection } from "../ssh/connection.ts";
import { RemoteCommandError } from "../ssh/errors.ts";
import { shellQuote } from "../ssh/shell-quote.ts";

// The script is read from stdin, whole, before any of it runs: what it starts must not read its rest.
const SHELL = "run() { if [ $(id -u) = 0 ]; then exec /bin/sh -s; else exec sudo -n /bin/sh -s; fi; }; run";

/**
 * Runs a script on a machine as root: as the user itself, or by its sudo. Nothing of it stands in an argument of a
 * program.
 * @param variables set before it runs
 * @returns what it printed
 * @throws RemoteCommandError if it fails, or root cannot be had
 */
export async function rootShell(
  connection: Connection,
  script: string,
  variables: Readonly<Record<string, string>>,
  what: string,
  timeoutMs = 60_000,
): Promise<string> {
  const set = Object.entries(variables).map(([name, value]) => `${name}=${shellQuote(value)}\n`);
  const stdin = `main() {\n${set.join("")}${script}\n}\nmain </dev/null\n`;
  const result = await connection.exec(SHELL, { stdin, timeoutMs });
  if (result.code !== 0) throw new RemoteCommandError(what, result);
  return result.stdout;
}
