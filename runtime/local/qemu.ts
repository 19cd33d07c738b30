import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runsUnderSystemd } from "./launch-form.ts";
import { pressPowerButton } from "./monitor.ts";
import { argumentsOf, type Process, processOf } from "./processes.ts";
import { qemuArguments, type VirtualMachine } from "./qemu-arguments.ts";
import { cleanEnvironment } from "./run-program.ts";
import type { SlotNames } from "./slot.ts";
import { startUnit } from "./transient-unit.ts";

export const QEMU = "qemu-system-x86_64";
/** The guest hears the power button once its login manager runs; pressing again does no harm. */
const PRESS_AGAIN_MS = 5000;

/** The machine's QEMU, if it lives; another process that has its number by now is not it. */
export function qemuOf(names: SlotNames): Process | undefined {
  let text: string;
  try {
    text = readFileSync(names.qemuPid, "utf8");
  } catch {
    return undefined;
  }
  const [pid = 0, ticks] = text.split(" ").map(Number);
  const found = pid > 0 ? processOf(pid) : undefined;
  return found?.startTicks === ticks && argumentsOf(pid).includes(`guest=${names.name}`) ? found : undefined;
}

/** Whether this QEMU translates what its guest does; what it was started with says so, whoever started it and when. */
export function isEmulated(pid: number): boolean {
  const args = argumentsOf(pid);
  return args[args.indexOf("-accel") + 1]?.startsWith("tcg") ?? false;
}

/**
 * Start QEMU in the slot's namespace, detached from this process in every way: it has its own session, a clean
 * environment, and its output goes to console.log beside the guest's (the one before is kept as console.log.1).
 * @returns a function that says whether the machine is starting or running
 * @throws if it cannot be started
 */
export async function launchQemu(names: SlotNames, machine: VirtualMachine): Promise<() => boolean> {
  await rm(names.qemuPid, { force: true });
  await rm(names.monitor, { force: true });
  if (existsSync(names.console)) await rename(names.console, `${names.console}.1`);
  await (await open(names.console, "a", 0o600)).close();
  // the shell becomes QEMU, so that the pid and its start are QEMU's own
  const script =
    'cd "$1" || exit 1; echo "$$ $(cut -d" " -f22 /proc/$$/stat)" >"$0"; exec >>"$2" 2>&1; shift 2; exec "$@"';
  const program = ["nsenter", `--net=${names.netns}`, QEMU, ...qemuArguments(names, machine)];
  const argv = ["-c", script, names.qemuPid, names.directory, names.console, ...program];
  if (runsUnderSystemd()) {
    await startUnit({ unit: names.unit, properties: ["Type=exec"], argv: ["/bin/sh", ...argv] });
    const deadline = Date.now() + 1000; // until the shell has written its pid
    return () => Date.now() < deadline || qemuOf(names) !== undefined;
  }
  const child = spawn("/bin/sh", argv, { detached: true, stdio: "ignore", cwd: "/", env: cleanEnvironment() });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", reject);
  });
  child.unref();
  return () => child.exitCode === null && child.signalCode === null;
}

/**
 * Ask the guest to power off in order.
 * @returns whether it did within `seconds`; true at once if it does not run
 */
export async function powerOff(names: SlotNames, seconds: number): Promise<boolean> {
  const deadline = Date.now() + seconds * 1000;
  for (let pressed = Number.NEGATIVE_INFINITY; Date.now() < deadline; await sleep(50)) {
    const qemu = qemuOf(names);
    if (qemu === undefined) return true;
    if (Date.now() - pressed < PRESS_AGAIN_MS) continue;
    await pressPowerButton(qemu.pid, basename(names.monitor));
    pressed = Date.now();
  }
  return qemuOf(names) === undefined;
}

/**
 * End the guest, and wait until it is gone.
 * @param graceSeconds how long it may take to power off by itself; 0: it is killed at once
 * @throws if it cannot be ended, naming its process
 */
export async function haltQemu(names: SlotNames, graceSeconds: number): Promise<void> {
  if (!(await powerOff(names, graceSeconds))) {
    const qemu = qemuOf(names);
    if (qemu !== undefined) process.kill(qemu.pid, "SIGKILL");
    for (let i = 0; qemuOf(names) !== undefined; i++) {
      if (i === 200) throw new Error(`${names.name}: QEMU (process ${qemu?.pid}) did not end within 10 s of its kill`);
      await sleep(50);
    }
  }
  await rm(names.qemuPid, { force: true });
  await rm(names.monitor, { force: true });
}
