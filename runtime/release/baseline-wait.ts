import { setTimeout as sleep } from "node:timers/promises";
import type { Connection } from "../ssh/connection.ts";

/** First boot failed, or did not finish in time; the machine must be rebuilt or looked at. */
export class BaselineError extends Error {
  readonly step: string;
  constructor(step: string, message: string) {
    super(message);
    this.name = "BaselineError";
    this.step = step;
  }
}

const ask = `sudo -n cat /etc/bailiwick/baseline.json 2>/dev/null || cat /etc/bailiwick/baseline.json 2>/dev/null || cloud-init status --long 2>/dev/null | tr "\\n" " "`;

/** Its steps are safe to run again, and what stopped one may have passed: an archive that was away, a full disk. */
const again = "sudo -n /bin/sh /usr/lib/bailiwick/apply";

/**
 * Waits for the marker that first boot leaves when it has finished. If a step failed, its steps are run once more.
 * @throws BaselineError naming the step that failed, or the one reached when the time was up, or another baseline than the spec's
 */
export async function waitForBaseline(
  connection: Connection,
  expected: string,
  seconds: number,
  progress: (line: string) => void,
): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  let repaired = false;
  for (;;) {
    const { stdout } = await connection.exec(ask);
    const text = stdout.trim();
    if (text.startsWith("{")) {
      const result = JSON.parse(text) as { digest: string; status: string; step?: string; message?: string };
      if (result.status === "done") {
        if (result.digest !== expected)
          throw new BaselineError(
            "digest",
            `the machine has baseline ${result.digest.slice(0, 12)}, the spec says ${expected.slice(0, 12)}; rebuild it`,
          );
        return;
      }
      if (!repaired) {
        progress(`first boot failed at step "${result.step}"; running its steps again`);
        await connection.exec(again, { timeoutMs: seconds * 1000 });
        repaired = true;
        continue;
      }
      throw new BaselineError(
        result.step ?? "unknown",
        `first boot failed at step "${result.step}": ${result.message}; fix the cause, then deploy again; if first boot never got far enough for that, rebuild the machine`,
      );
    }
    if (/status: error/.test(text))
      throw new BaselineError("cloud-init", `first boot failed before the baseline ran: ${text}`);
    if (Date.now() > deadline)
      throw new BaselineError(
        "timeout",
        `first boot had not finished after ${seconds} s (${text || "no word from cloud-init"}); see bailiwick logs, or rebuild the machine`,
      );
    await sleep(300);
  }
}
