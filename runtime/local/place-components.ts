import { spawn } from "node:child_process";
import { open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { UPLOAD_SCRIPT } from "../ssh/upload-script.ts";
import type { PlacedComponent, Progress } from "./machine-plan.ts";
import { nspawnOf } from "./nspawn.ts";
import { cleanEnvironment } from "./run-program.ts";
import type { SlotNames } from "./slot.ts";

interface PlaceOptions {
  /** Whether the machine is starting or running. */
  readonly alive: () => boolean;
  /** Ends it: nothing of it runs any more once the promise is settled. */
  readonly signal: AbortSignal;
  readonly progress: Progress;
}

/**
 * Puts components on the root disk of a container while that boots, each as its SSH server would receive it: whole, by the
 * digest of its archive, or not at all. What could not be placed, for whatever reason, is left to the push, which sends
 * what it finds missing. Settles once every one was tried.
 */
export async function placeComponents(
  names: SlotNames,
  components: readonly PlacedComponent[],
  { alive, signal, progress }: PlaceOptions,
): Promise<void> {
  if (components.length === 0) return;
  let nspawn = nspawnOf(names);
  for (; nspawn === undefined; nspawn = nspawnOf(names)) {
    if (!alive() || signal.aborted) return; // whoever waits for the machine says why
    await sleep(20);
  }
  const { pid } = nspawn;
  await Promise.all(
    components.map(async (component) => {
      const refused = await place(pid, `${names.mountPoint}/opt/bailiwick`, component, signal);
      if (refused !== undefined && !signal.aborted)
        progress(`component ${component.digest.slice(0, 12)} is left to the push: ${refused}`);
    }),
  );
}

/** @returns why it was not placed; undefined if it was */
async function place(pid: number, root: string, { digest, archive }: PlacedComponent, signal: AbortSignal) {
  const file = await open(archive.path).catch((error: Error) => error);
  if (file instanceof Error) return file.message;
  try {
    if (signal.aborted) return "not wanted any more";
    // the disk is mounted for nobody but nspawn
    const words = ["receive", root, digest, archive.sha256, String(archive.bytes), "0", "placed"];
    const args = ["-t", String(pid), "-m", "sh", "-c", UPLOAD_SCRIPT, "bailiwick-upload", ...words];
    // a group of its own, so that all of it can be ended: a shell waits for what it runs
    const child = spawn("nsenter", args, { env: cleanEnvironment(), stdio: [file.fd, "pipe", "pipe"], detached: true });
    const end = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      } catch {
        // all of it has ended
      }
    };
    signal.addEventListener("abort", end);
    let said = "";
    let complaint = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      complaint += text;
    });
    const status = await new Promise<number | null>((done) => {
      child.on("error", (error) => {
        complaint = error.message;
      });
      child.on("close", done);
    });
    signal.removeEventListener("abort", end);
    if (status !== 0) return complaint.trim().split("\n").at(-1) || `its receiver ended with status ${status}`;
    return /^(done|present)$/m.test(said) ? undefined : `its receiver said ${JSON.stringify(said.trim())}`;
  } finally {
    await file.close();
  }
}
