import { rm } from "node:fs/promises";
import type { ReleaseManifest } from "../../spec/manifest.ts";
import { audit } from "./audit.ts";
import { waitForHealth } from "./health.ts";
import { record } from "./history.ts";
import { seizeLock } from "./lock.ts";
import { paths } from "./paths.ts";
import { readManifest } from "./release.ts";
import { tryRun } from "./run.ts";
import { agentsWithOtherRuntime, restoreSnapshot } from "./snapshots.ts";
import { close, planSwitch, setFiles, switchTo } from "./switch.ts";
import { daemonReload } from "./systemd.ts";
import { disarm, type Unconfirmed, unconfirmed } from "./unconfirmed.ts";

/** Time for a release that is taken back to end in order: what serves again matters more. */
const DRAIN_SECONDS = 10;

/**
 * Takes back a release that nobody has confirmed. `timer`: the time is up. `boot`: the machine went down before. Waits for a
 * push that is at work, but not for ever. Does nothing when there is nothing to take back.
 */
export async function revert(when: "timer" | "boot"): Promise<void> {
  const release = await seizeLock("host", `taking back a release (${when})`, 60);
  try {
    const open = await unconfirmed();
    if (open === null) return;
    if (when === "boot") await settle(open);
    else await takeBack(open);
  } finally {
    await release();
  }
}

/** Back to the release before, on a host that runs. @returns what is wrong with it then: nothing, or a line per unit */
export async function takeBack(open: Unconfirmed): Promise<string[]> {
  const { from, to } = open;
  await audit("revert", { release: to, to: from });
  const problems = await goBack(open);
  await record({ release: to, from, by: "host", why: open.why, outcome: "reverted" });
  await disarm();
  await audit("reverted", { release: to, to: from, problems });
  return problems;
}

/** Makes `from` what runs again. @returns what is wrong with it then: nothing, or lines about units */
export async function goBack({ from, to, healthSeconds }: Pick<Unconfirmed, "from" | "to" | "healthSeconds">) {
  const failed = await readManifest(to);
  if (from === null) {
    await close(failed);
    return [];
  }
  const before = await readManifest(from);
  const plan = await planSwitch(failed, before);
  const switched = switchTo(before, failed, plan, {
    drainSeconds: DRAIN_SECONDS,
    state: { keep: false, restore: true },
  });
  // a unit of it that does not start either is told with the rest: the release that failed is undone all the same
  const problems = await switched.then(
    () => [],
    (error: Error) => [error.message],
  );
  return [...problems, ...(await waitForHealth(before.units, healthSeconds))];
}

/**
 * At boot, before the firewall and any principal: only what is on the disk is put back. systemd has read the units of the
 * unconfirmed release already, so it is told to read them again, and which of them to start.
 */
async function settle({ from, to, why }: Unconfirmed): Promise<void> {
  const failed = await readManifest(to).catch(() => null);
  const before = from === null ? null : await readManifest(from);
  const names = (manifest: ReleaseManifest | null) => manifest?.units.map((unit) => unit.name) ?? [];
  if (before === null) await rm(paths.current, { force: true });
  else {
    for (const name of agentsWithOtherRuntime(failed, before)) await restoreSnapshot(before.agents, name);
    await setFiles(before, failed);
  }
  await daemonReload();
  const gone = names(failed).filter((name) => !names(before).includes(name));
  if (gone.length > 0) await tryRun("systemctl", ["stop", "--no-block", ...gone]);
  if (before !== null) await tryRun("systemctl", ["start", "--no-block", ...names(before)]);
  await record({ release: to, from, by: "host", why, outcome: "reverted" });
  await disarm();
  await audit("reverted", { release: to, to: from, at: "boot" });
}
