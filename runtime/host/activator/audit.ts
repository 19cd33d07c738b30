import { tryRun } from "./run.ts";

/** One line per action in the journal, as JSON, under the identifier `bailiwick`. Who: the admin behind sudo. */
export async function audit(action: string, details: Record<string, unknown> = {}): Promise<void> {
  const line = JSON.stringify({ action, by: process.env.SUDO_USER ?? "root", ...details });
  await tryRun("systemd-cat", ["--identifier=bailiwick", "--priority=notice"], `${line}\n`);
}
