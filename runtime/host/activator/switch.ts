import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { ReleaseManifest } from "../../spec/manifest.ts";
import { switchLink } from "./files.ts";
import { paths } from "./paths.ts";
import { applyAcls, applyAdmins } from "./prepare.ts";
import { applyQuotas, mountAnew, mustMountAnew } from "./quotas.ts";
import { releasePath, unitTexts } from "./release.ts";
import { tryRun } from "./run.ts";
import { agentsWithOtherRuntime, restoreSnapshot, takeSnapshot } from "./snapshots.ts";
import { daemonReload, stopWithin, systemctl } from "./systemd.ts";

/** What a switch from one release to another does to the units. */
export interface Plan {
  stop: string[];
  restart: string[];
  reload: string[];
  /** Whether the data volume is mounted anew meanwhile, with project quotas. */
  mountsAnew: boolean;
}

/** How a switch treats what it finds. */
export interface SwitchOptions {
  /** Seconds that a unit may take to end in order. */
  readonly drainSeconds: number;
  /** Agents whose runtime changes: is their state of now kept, is that of the other runtime put back? */
  readonly state: { readonly keep: boolean; readonly restore: boolean };
}

/**
 * Which units a switch stops for good, restarts, or reloads.
 * @param spoiled components that were replaced meanwhile: their units run on what was there before
 */
export async function planSwitch(
  before: ReleaseManifest | null,
  after: ReleaseManifest,
  spoiled: readonly string[] = [],
): Promise<Plan> {
  const old = before === null ? new Map<string, string>() : await unitTexts(before.digest);
  const now = await unitTexts(after.digest);
  const names = after.units.map((unit) => unit.name);
  const changed = (name: string) =>
    old.get(name) !== now.get(name) || spoiled.some((component) => now.get(name)?.includes(component));
  // for its first quota the data volume is mounted anew, under units that must not run then
  const mountsAnew = await mustMountAnew(after);
  const restart = mountsAnew ? names : names.filter(changed);
  const stop = (before?.units ?? []).map((unit) => unit.name).filter((name) => !names.includes(name));
  const reload: string[] = [];
  for (const unit of after.units)
    if (!restart.includes(unit.name) && (await anyDiffers(unit.reload, before, after))) reload.push(unit.name);
  return { stop: stop.reverse(), restart, reload, mountsAnew };
}

async function anyDiffers(
  files: readonly string[],
  before: ReleaseManifest | null,
  after: ReleaseManifest,
): Promise<boolean> {
  for (const file of files) {
    const now = await readFile(join(releasePath(after.digest), file), "utf8");
    const old =
      before === null ? null : await readFile(join(releasePath(before.digest), file), "utf8").catch(() => null);
    if (now !== old) return true;
  }
  return false;
}

/** Makes `after` what runs. Each step is safe to run again, so a switch that was cut is finished by the next one. */
export async function switchTo(
  after: ReleaseManifest,
  before: ReleaseManifest | null,
  plan: Plan,
  { drainSeconds, state }: SwitchOptions,
): Promise<void> {
  // What goes or changes stops first, while its own unit is still the one systemd knows, users before what they use.
  const known = new Set(before?.units.map((unit) => unit.name));
  const changed = plan.restart.filter((name) => known.has(name)).reverse();
  await stopWithin([...changed, ...plan.stop], drainSeconds);
  // a volume that is in use keeps no release from running, least of all the one that is gone back to
  const unmounted = plan.mountsAnew ? await mountAnew().catch((error: Error) => error) : undefined;
  for (const name of agentsWithOtherRuntime(before, after)) {
    if (state.keep && before !== null) await takeSnapshot(before.agents, name);
    if (state.restore) await restoreSnapshot(after.agents, name);
  }
  await setFiles(after, before);
  await daemonReload();
  await reloadFirewall(after);
  await systemctl("try-reload-or-restart", plan.reload);
  // Also what has not changed but is down: an unchanged push repairs.
  const names = after.units.map((unit) => unit.name);
  await tryRun("systemctl", ["reset-failed", ...names]);
  await systemctl("start", names);
  if (unmounted !== undefined) throw unmounted;
}

/** Everything of a switch that is on the disk; the link, which decides what runs, last. */
export async function setFiles(after: ReleaseManifest, before: ReleaseManifest | null): Promise<void> {
  await applyAdmins(after);
  await applyAcls(after, before);
  await applyQuotas(after, before);
  await switchLink(paths.current, releasePath(after.digest));
}

/** No release: the host is closed, as first boot left it. */
export async function close(manifest: ReleaseManifest): Promise<void> {
  const names = manifest.units.map((unit) => unit.name);
  await stopWithin([...names].reverse(), CLOSE_SECONDS);
  await rm(paths.current, { force: true });
  await daemonReload();
  await systemctl("reload", ["bailiwick-firewall.service"]);
  await tryRun("systemctl", ["reset-failed", ...names]);
}

const CLOSE_SECONDS = 10;

/** The holder keeps the old rules when the new ones do not load, and systemd is not told: so the kernel is asked. */
async function reloadFirewall(manifest: ReleaseManifest): Promise<void> {
  await systemctl("start", ["bailiwick-firewall.service"]);
  await systemctl("reload", ["bailiwick-firewall.service"]);
  if (!(await rulesAreInForce(manifest)))
    throw new Error("the firewall did not take the release's rules: not all of its chains are in the kernel");
}

/** Whether the kernel has a chain for each of the release's principals. */
export async function rulesAreInForce(manifest: ReleaseManifest): Promise<boolean> {
  const { stdout } = await tryRun("nft", ["--terse", "list", "table", "inet", "bailiwick"]);
  const there = new Set([...stdout.matchAll(/^\s*chain (\S+) \{$/gm)].map(([, chain]) => chain));
  return manifest.units.every(({ chain }) => there.has(chain));
}
