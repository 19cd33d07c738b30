import { get } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { ReleaseManifest } from "../../spec/manifest.ts";
import { lastLines, unitState } from "./systemd.ts";

type Unit = ReleaseManifest["units"][number];

/** Whether a unit is active and, if it names an endpoint, answers 200 there. */
export async function isReady(unit: Unit): Promise<boolean> {
  const state = await unitState(unit.name);
  if (state.active !== "active") return false;
  return unit.ready === null || (await answers(unit.ready.port, unit.ready.path));
}

function answers(port: number, path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get({ host: "127.0.0.1", port, path, timeout: 5000, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => resolve(false));
  });
}

/**
 * Waits until every unit is ready. Answers what is wrong: nothing, or one line per unit that failed or was not ready in
 * time, with the end of its log. A unit that systemd has given up on is not waited for.
 */
export async function waitForHealth(units: readonly Unit[], seconds: number): Promise<string[]> {
  const deadline = Date.now() + seconds * 1000;
  let waiting = [...units];
  for (;;) {
    const still: Unit[] = [];
    const failed: string[] = [];
    for (const unit of waiting) {
      if (await isReady(unit)) continue;
      const { active, result } = await unitState(unit.name);
      if (active === "failed" || active === "inactive")
        failed.push(`${unit.name} is ${active} (${result}): ${await lastLines(unit.name)}`);
      else still.push(unit);
    }
    if (failed.length > 0) return failed;
    if (still.length === 0) return [];
    if (Date.now() > deadline)
      return Promise.all(
        still.map(async (unit) => `${unit.name} was not ready within ${seconds} s: ${await lastLines(unit.name)}`),
      );
    waiting = still;
    await sleep(100);
  }
}
