import { run, tryRun } from "./run.ts";

export interface UnitState {
  active: string;
  sub: string;
  restarts: number;
  since: string | null;
  memoryMiB: number | null;
  result: string;
}

/** What systemd says of a unit. A unit it does not know is `inactive`. */
export async function unitState(unit: string): Promise<UnitState> {
  const text = await run("systemctl", [
    "show",
    "--timestamp=unix",
    "--property=ActiveState,SubState,NRestarts,ActiveEnterTimestamp,MemoryCurrent,Result",
    unit,
  ]);
  const fields = Object.fromEntries(
    text.split("\n").map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
  const since = /^@(\d+)$/.exec(fields.ActiveEnterTimestamp ?? "")?.[1];
  const memory = Number(fields.MemoryCurrent);
  return {
    active: fields.ActiveState ?? "unknown",
    sub: fields.SubState ?? "unknown",
    restarts: Number(fields.NRestarts ?? 0),
    since: since === undefined ? null : new Date(Number(since) * 1000).toISOString(),
    memoryMiB: Number.isSafeInteger(memory) && memory > 0 ? Math.round(memory / 1048576) : null,
    result: fields.Result ?? "",
  };
}

/** The last lines a unit logged, for an error message; secrets never reach a unit's log. */
export async function lastLines(unit: string, count = 5): Promise<string> {
  const { stdout } = await tryRun("journalctl", [
    "--unit",
    unit,
    "--lines",
    String(count),
    "--output=cat",
    "--no-pager",
    "--quiet",
  ]);
  return stdout.trim();
}

/** Stops units in order; what has not ended after `seconds` is killed. */
export async function stopWithin(units: readonly string[], seconds: number): Promise<void> {
  if (units.length === 0) return;
  const late = setTimeout(() => void tryRun("systemctl", ["kill", "--signal=KILL", ...units]), seconds * 1000);
  try {
    await run("systemctl", ["stop", ...units]);
  } finally {
    clearTimeout(late);
  }
}

export async function daemonReload(): Promise<void> {
  await run("systemctl", ["daemon-reload"]);
}

/** `try-reload-or-restart` leaves alone what is down, which the start that follows brings up. */
export async function systemctl(
  verb: "start" | "reload" | "try-reload-or-restart",
  units: readonly string[],
): Promise<void> {
  if (units.length > 0) await run("systemctl", [verb, ...units]);
}
