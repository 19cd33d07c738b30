import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { ActivateAnswer, ActivateRequest } from "../../spec/activator.ts";
import type { ReleaseManifest } from "../../spec/manifest.ts";
import { audit } from "./audit.ts";
import { switchLink } from "./files.ts";
import { waitForHealth } from "./health.ts";
import { paths } from "./paths.ts";
import { applyAcls, applyAdmins, prepare } from "./prepare.ts";
import { currentRelease, readManifest, releasePath, unitTexts } from "./release.ts";
import { tryRun } from "./run.ts";
import { daemonReload, systemctl } from "./systemd.ts";

/** What a switch from one release to another does to the units. */
interface Plan {
  stop: string[];
  restart: string[];
  reload: string[];
}

/**
 * Makes a staged release the current one: prepares, switches the one symlink, restarts what changed, waits for health.
 * A release that does not become healthy is undone before this returns.
 */
export async function activate(request: ActivateRequest): Promise<ActivateAnswer> {
  const started = Date.now();
  const previous = await currentRelease();
  const manifest = await readManifest(request.digest);
  const before = previous === null ? null : await readManifest(previous);
  await audit("activate", { release: request.digest, previous });
  await prepare(manifest);
  const plan = await planSwitch(before, manifest);
  const problems = await switchTo(manifest, before, plan).then(
    () => waitForHealth(manifest.units, request.healthSeconds),
    (error: Error) => [error.message],
  );
  if (problems.length > 0) await undo(manifest, before);
  await audit(problems.length === 0 ? "activated" : "undone", { release: request.digest, previous, ...plan, problems });
  return {
    release: problems.length === 0 ? request.digest : (previous ?? ""),
    previous,
    healthy: problems.length === 0,
    restarted: plan.restart,
    reloaded: plan.reload,
    stopped: plan.stop,
    problems,
    ms: Date.now() - started,
  };
}

async function planSwitch(before: ReleaseManifest | null, after: ReleaseManifest): Promise<Plan> {
  const old = before === null ? new Map<string, string>() : await unitTexts(before.digest);
  const now = await unitTexts(after.digest);
  const names = after.units.map((unit) => unit.name);
  const restart = names.filter((name) => old.get(name) !== now.get(name));
  const stop = (before?.units ?? []).map((unit) => unit.name).filter((name) => !names.includes(name));
  const reload: string[] = [];
  for (const unit of after.units)
    if (!restart.includes(unit.name) && (await anyDiffers(unit.reload, before, after))) reload.push(unit.name);
  return { stop: stop.reverse(), restart, reload };
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

async function switchTo(manifest: ReleaseManifest, before: ReleaseManifest | null, plan: Plan): Promise<void> {
  // What goes or changes stops first, while its own unit is still the one systemd knows, users before what they use.
  const known = new Set(before?.units.map((unit) => unit.name));
  const changed = plan.restart.filter((name) => known.has(name)).reverse();
  await systemctl("stop", [...changed, ...plan.stop]);
  await applyAdmins(manifest);
  await applyAcls(manifest, before);
  await switchLink(paths.current, releasePath(manifest.digest));
  await daemonReload();
  await reloadFirewall(manifest);
  await systemctl("reload", plan.reload);
  // Also what has not changed but is down: an unchanged push repairs.
  await tryRun("systemctl", ["reset-failed", ...manifest.units.map((unit) => unit.name)]);
  await systemctl(
    "start",
    manifest.units.map((unit) => unit.name),
  );
}

/** The holder keeps the old rules when the new ones do not load, and systemd is not told: so the kernel is asked. */
async function reloadFirewall(manifest: ReleaseManifest): Promise<void> {
  await systemctl("start", ["bailiwick-firewall.service"]);
  await systemctl("reload", ["bailiwick-firewall.service"]);
  for (const chain of new Set(manifest.units.map((unit) => unit.chain))) {
    const { code } = await tryRun("nft", ["list", "chain", "inet", "bailiwick", chain]);
    if (code !== 0)
      throw new Error(`the firewall did not take the release's rules: chain ${chain} is not in the kernel`);
  }
}

/** Back to the release before; before the first release there is none, and the host is closed as first boot left it. */
async function undo(manifest: ReleaseManifest, before: ReleaseManifest | null): Promise<void> {
  const names = manifest.units.map((unit) => unit.name);
  await tryRun("systemctl", ["stop", ...[...names].reverse()]);
  if (before === null) {
    await rm(paths.current, { force: true });
    await daemonReload();
    await systemctl("reload", ["bailiwick-firewall.service"]);
    await tryRun("systemctl", ["reset-failed", ...names]);
    return;
  }
  await applyAdmins(before);
  await applyAcls(before, manifest);
  await switchLink(paths.current, releasePath(before.digest));
  await daemonReload();
  await reloadFirewall(before);
  await tryRun("systemctl", ["reset-failed", ...names]);
  await systemctl(
    "start",
    before.units.map((unit) => unit.name),
  );
}
