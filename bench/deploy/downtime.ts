import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { namesOf } from "../../runtime/local/slot.ts";

/**
 * Asks an agent's own health path again and again, from its machine's network, while work goes on. The namespace is there
 * under the same name before and after a rebuild.
 * @returns longest time between two answers, seconds
 */
export async function downtimeDuring(slot: string, url: string, work: () => Promise<unknown>): Promise<number> {
  let done = false;
  let last = performance.now();
  let longest = 0;
  const watch = async () => {
    for (let after = 0; after < 5; ) {
      if (await answers(slot, url)) {
        const now = performance.now();
        longest = Math.max(longest, now - last);
        last = now;
        if (done) after += 1;
      }
      await sleep(50);
    }
  };
  const watching = watch();
  try {
    await work();
  } finally {
    done = true;
  }
  await watching;
  return longest / 1000;
}

function answers(slot: string, url: string): Promise<boolean> {
  const args = ["netns", "exec", namesOf(slot).name, "curl", "--silent", "--fail", "--max-time", "1", url];
  return new Promise((resolve) => {
    const child = spawn("ip", args, { stdio: "ignore" });
    child.on("error", () => resolve(false));
    child.on("close", (code) => resolve(code === 0));
  });
}
