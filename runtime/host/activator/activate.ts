import type { ActivateAnswer, ActivateRequest, ConfirmAnswer, ConfirmRequest } from "../../spec/activator.ts";
import type { ReleaseManifest } from "../../spec/manifest.ts";
import { audit } from "./audit.ts";
import { forgetSpoiled, spoiledComponents } from "./components.ts";
import { collectGarbage } from "./garbage.ts";
import { isReady, waitForHealth } from "./health.ts";
import { record } from "./history.ts";
import { applyAdmins, prepare, syncDisks } from "./prepare.ts";
import { applyQuotas } from "./quotas.ts";
import { currentRelease, readManifest } from "./release.ts";
import { goBack, takeBack } from "./revert.ts";
import { dropSnapshots } from "./snapshots.ts";
import { type Plan, planSwitch, rulesAreInForce, switchTo } from "./switch.ts";
import { arm, disarm, setTimer, unconfirmed } from "./unconfirmed.ts";

/** Beyond the times that are asked for: what systemd and the disk may take. */
const SLACK_SECONDS = 60;

/**
 * Makes a staged release the current one: prepares, arms what takes it back, switches the one symlink, restarts what
 * changed, waits for health. A release that does not become healthy is undone before this returns; one that does is taken
 * back by the host unless it is confirmed in time.
 */
export async function activate(request: ActivateRequest): Promise<ActivateAnswer> {
  const started = Date.now();
  await settleFormerSwitch(request.digest);
  const previous = await currentRelease();
  const manifest = await readManifest(request.digest);
  const before = previous === null ? null : await readManifest(previous);
  await audit("activate", { release: request.digest, previous });
  await prepare(manifest);
  const plan = await planSwitch(before, manifest, await spoiledComponents());
  const answer = (problems: string[], confirm: boolean): ActivateAnswer => ({
    release: problems.length === 0 ? request.digest : (previous ?? ""),
    previous,
    healthy: problems.length === 0,
    confirm,
    restarted: plan.restart,
    reloaded: plan.reload,
    stopped: plan.stop,
    problems,
    ms: Date.now() - started,
  });
  const open = await unconfirmed();
  if (previous === request.digest && open === null) {
    // There is no other release to go back to: what is down is started, what is spoiled restarted.
    const problems = (await servesAlready(manifest, plan)) ? [] : await makeItRun(manifest, before, plan, request);
    if (problems.length === 0) await collectGarbage(request.keep);
    await audit(problems.length === 0 ? "activated" : "not healthy", { release: request.digest, ...plan, problems });
    return answer(problems, false);
  }
  const by = process.env.SUDO_USER ?? "root";
  const from = open?.from ?? previous;
  const { healthSeconds, confirmSeconds, drainSeconds, why } = request;
  await syncDisks();
  const guard = from === null || from === request.digest ? manifest : await readManifest(from);
  await dropSnapshots(before, manifest);
  await arm(
    { from, to: request.digest, by, why, healthSeconds },
    guard,
    drainSeconds + healthSeconds + confirmSeconds + SLACK_SECONDS,
  );
  const problems = await makeItRun(manifest, before, plan, request);
  if (problems.length > 0) {
    const left = await goBack({ from, to: request.digest, healthSeconds });
    await record({ release: request.digest, from, by, why, outcome: "undone" });
    await disarm();
    await audit("undone", { release: request.digest, previous, ...plan, problems, left });
    return answer([...problems, ...left.map((line) => `and of the release before: ${line}`)], false);
  }
  await setTimer(guard, confirmSeconds);
  await audit("activated", { release: request.digest, previous, ...plan, problems });
  return answer([], true);
}

/** Whether nothing is to be done for a release that is current, but for who may log in and how much workspaces may hold. */
async function servesAlready(manifest: ReleaseManifest, plan: Plan): Promise<boolean> {
  if ([...plan.restart, ...plan.stop, ...plan.reload].length > 0) return false;
  const ready = await Promise.all(manifest.units.map(isReady));
  if (!ready.every(Boolean) || !(await rulesAreInForce(manifest))) return false;
  await applyAdmins(manifest);
  await applyQuotas(manifest, null);
  return true;
}

async function makeItRun(
  manifest: ReleaseManifest,
  before: ReleaseManifest | null,
  plan: Plan,
  { drainSeconds, healthSeconds, restoreState }: ActivateRequest,
): Promise<string[]> {
  try {
    await switchTo(manifest, before, plan, { drainSeconds, state: { keep: true, restore: restoreState } });
    const problems = await waitForHealth(manifest.units, healthSeconds);
    if (problems.length === 0) await forgetSpoiled();
    return problems;
  } catch (error) {
    return [(error as Error).message];
  }
}

/** An earlier push was cut before its release was confirmed: it is taken back first, unless it is this very release. */
async function settleFormerSwitch(wanted: string): Promise<void> {
  const open = await unconfirmed();
  if (open === null || (open.to === wanted && (await currentRelease()) === wanted)) return;
  await takeBack(open);
}

/**
 * The release is the host's from now on: nothing takes it back, and what only older releases than `keep` used is removed.
 * @throws if it is not the current release
 */
export async function confirm({ digest, keep }: ConfirmRequest): Promise<ConfirmAnswer> {
  const current = await currentRelease();
  if (current !== digest)
    throw new Error(
      `release ${digest.slice(0, 12)} is not current any more (${current?.slice(0, 12) ?? "none"} is): it was taken back; push again`,
    );
  const open = await unconfirmed();
  if (open !== null) {
    await syncDisks();
    await record({ release: digest, from: open.from, by: open.by, why: open.why, outcome: "confirmed" });
    await disarm();
    await audit("confirmed", { release: digest });
  }
  return collectGarbage(keep);
}
