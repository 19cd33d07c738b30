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

// cloud-init is asked every two seconds at most: to start it costs half a second of the processors that first boot is short
// of. The marker is read again after it was asked: it may have been written in between.
const MARKER = "{ sudo -n cat /etc/bailiwick/baseline.json || cat /etc/bailiwick/baseline.json; } 2>/dev/null";
const LOOK = "for i in 1 2 3 4 5 6 7 8 9 10; do [ -e /etc/bailiwick/baseline.json ] && break; sleep 0.2; done";
const ask = `${LOOK}; ${MARKER} || { s=$(cloud-init status --long 2>/dev/null | tr "\\n" " "); ${MARKER} || echo "$s"; }`;

/** Its steps are safe to run again, and what stopped one may have passed: an archive that was away, a power cut. */
const again =
  "sudo -n /bin/sh /usr/lib/bailiwick/apply && sudo -n systemctl reset-failed 'cloud-*'; sudo -n cat /etc/bailiwick/baseline.json";

interface Marker {
  readonly digest: string;
  readonly status: string;
  readonly step?: string;
  readonly message?: string;
}

/**
 * Waits for the marker that first boot leaves when it has finished. If a step failed, or cloud-init has ended without
 * finishing them, the steps are run once more.
 * @throws BaselineError naming the step that failed, or the one reached when the time was up, or another baseline than the spec's
 */
export async function waitForBaseline(
  connection: Connection,
  expected: string,
  seconds: number,
  progress: (line: string) => void,
): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const { stdout } = await connection.exec(ask);
    const text = stdout.trim();
    const marker = parsed(text);
    if (marker?.status === "done") return requireDigest(marker, expected);
    if (marker !== null || /^status: (done|error)/.test(text)) {
      progress(`first boot ended ${marker === null ? "early" : `at step "${marker.step}"`}; running its steps again`);
      const ran = await connection.exec(again, { timeoutMs: seconds * 1000 });
      const now = parsed(ran.stdout.trim().split("\n").at(-1) ?? "");
      if (now?.status === "done") return requireDigest(now, expected);
      const { step = "cloud-init", message = text } = now ?? marker ?? {};
      throw new BaselineError(
        step,
        `first boot failed at step "${step}": ${message}; fix the cause and deploy again, or rebuild the machine`,
      );
    }
    if (Date.now() > deadline)
      throw new BaselineError(
        "timeout",
        `first boot had not finished after ${seconds} s (${text || "no word from cloud-init"}); see bailiwick logs, or rebuild the machine`,
      );
    await sleep(300);
  }
}

function parsed(text: string): Marker | null {
  return text.startsWith("{") ? (JSON.parse(text) as Marker) : null;
}

function requireDigest({ digest }: Marker, expected: string): void {
  if (digest === expected) return;
  throw new BaselineError(
    "digest",
    `the machine has baseline ${digest.slice(0, 12)}, the spec says ${expected.slice(0, 12)}; rebuild it`,
  );
}
