import { setTimeout as sleep } from "node:timers/promises";
import { run } from "./run-program.ts";

/** A program that systemd runs for a machine. */
export interface TransientUnit {
  /** Name, without `.service`. */
  readonly unit: string;
  /** As in a unit file: `Type=exec`. */
  readonly properties: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly argv: readonly string[];
}

/**
 * Arguments of systemd-run for it. It does not end with the login session or the service that starts it, and is forgotten
 * once it has ended.
 */
export function unitArguments({ unit, properties, env = {}, argv }: TransientUnit): string[] {
  return [
    ...[`--unit=${unit}`, "--slice=machine.slice", "--collect", "--quiet"],
    ...properties.flatMap((property) => ["-p", property]),
    ...Object.entries(env).map(([name, value]) => `--setenv=${name}=${value}`),
    // systemd replaces ${NAME} in what it starts, and $$ by one dollar
    ...argv.map((word) => word.replaceAll("$", "$$$$")),
  ];
}

/**
 * Start it, and return once its program runs, or with `Type=forking` has put itself into the background. One of the same name that is ending is waited for, 2 s.
 * @throws if systemd cannot start it
 */
export async function startUnit(unit: TransientUnit): Promise<void> {
  for (let i = 0; ; i++) {
    try {
      await run("systemd-run", unitArguments(unit));
      return;
    } catch (error) {
      if (i === 40 || !/already (loaded|exists)/.test(String(error))) throw error;
    }
    await sleep(50);
  }
}
