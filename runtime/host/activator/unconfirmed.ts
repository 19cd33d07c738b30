import { mkdir, rm, symlink } from "node:fs/promises";
import { dirname } from "node:path";
import * as z from "zod";
import type { ReleaseManifest } from "../../spec/manifest.ts";
import { readIfThere, syncDirectory, writeWhole } from "./files.ts";
import { paths } from "./paths.ts";
import { run, tryRun } from "./run.ts";

/**
 * A switch that nobody has confirmed yet. It is written before anything is switched and goes once the release is confirmed,
 * undone or taken back, so whatever ends this program in between, the host knows where to go back to.
 */
const Unconfirmed = z.strictObject({
  from: z.string().nullable(),
  to: z.string(),
  by: z.string(),
  why: z.string(),
  healthSeconds: z.number().int(),
});
export type Unconfirmed = z.infer<typeof Unconfirmed>;

/** Null when the current release is confirmed. */
export async function unconfirmed(): Promise<Unconfirmed | null> {
  const text = await readIfThere(paths.unconfirmed);
  return text === null ? null : Unconfirmed.parse(JSON.parse(text));
}

/**
 * Writes the record and arms what takes the switch back: a timer, and a unit that runs first at the next boot. Both use the
 * activator of the release that is gone back to, so that a bad new one cannot stand in the way of its own undoing.
 */
export async function arm(record: Unconfirmed, activator: ReleaseManifest, seconds: number): Promise<void> {
  await writeSettleUnit(activator);
  await writeWhole(paths.unconfirmed, `${JSON.stringify(record)}\n`, 0o600);
  await setTimer(activator, seconds);
}

/** Sets the timer anew; monotonic, so that a clock that is set does not move it. */
export async function setTimer(activator: ReleaseManifest, seconds: number): Promise<void> {
  await stopTimer();
  const options = ["--quiet", "--collect", "--unit=bailiwick-revert", `--on-active=${seconds}s`];
  await run("systemd-run", [
    ...options,
    "--timer-property=AccuracySec=100ms",
    "--property=Type=oneshot",
    ...command(activator, "timer"),
  ]);
}

/** The switch stands, or is undone: nothing takes it back any more. */
export async function disarm(): Promise<void> {
  await rm(paths.unconfirmed, { force: true });
  await syncDirectory(dirname(paths.unconfirmed));
  await rm(paths.settleWant, { force: true });
  await rm(paths.settleUnit, { force: true });
  await syncDirectory(dirname(paths.settleUnit));
  await stopTimer();
}

async function stopTimer(): Promise<void> {
  await tryRun("systemctl", ["stop", "bailiwick-revert.timer"]); // not there: nothing to stop
}

function command(manifest: ReleaseManifest, when: "timer" | "boot"): string[] {
  const { node, activator } = manifest.components;
  return [`${paths.components}/${node}/bin/node`, `${paths.components}/${activator}/activator.mjs`, "revert", when];
}

/** A plain unit, outside any release: what it does must not depend on the link that it is to set right. */
async function writeSettleUnit(activator: ReleaseManifest): Promise<void> {
  const text = `[Unit]
Description=Bailiwick: back to the confirmed release
DefaultDependencies=no
After=local-fs.target var-lib-bailiwick.mount
Wants=var-lib-bailiwick.mount
Before=bailiwick-firewall.service shutdown.target
Conflicts=shutdown.target
ConditionPathExists=${paths.unconfirmed}
[Service]
Type=oneshot
TimeoutStartSec=120
ExecStart=${command(activator, "boot").join(" ")}
`;
  await writeWhole(paths.settleUnit, text, 0o644);
  await mkdir(dirname(paths.settleWant), { recursive: true });
  await rm(paths.settleWant, { force: true });
  await symlink(paths.settleUnit, paths.settleWant);
  await syncDirectory(dirname(paths.settleWant));
}
