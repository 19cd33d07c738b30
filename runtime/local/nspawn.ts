import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runsUnderSystemd } from "./launch-form.ts";
import {
  argumentsOf,
  cgroupOf,
  initOf,
  isPopulated,
  isWithin,
  type Process,
  processesIn,
  processOf,
} from "./processes.ts";
import { cleanEnvironment, run } from "./run-program.ts";
import type { SlotNames } from "./slot.ts";
import { startUnit, type TransientUnit } from "./transient-unit.ts";

const LAUNCHER = join(import.meta.dirname, "launcher.sh");
const KILL_CGROUP = join(import.meta.dirname, "kill-cgroup.sh");
/** systemd as pid 1: start reboot.target (SIGRTMIN+5). */
const REBOOT_SIGNAL = 39;

/** The cgroup that holds everything of a machine, its launcher included. */
export function machineCgroup(names: SlotNames): string {
  return runsUnderSystemd() ? `/machine.slice/${names.unit}.service` : `/${names.name}`;
}

/** The machine's nspawn, if it lives; a number left over in the pid file that is another process by now is not it. */
export function nspawnOf(names: SlotNames): Process | undefined {
  let pid: number;
  try {
    pid = Number(readFileSync(names.nspawnPid, "utf8"));
  } catch {
    return undefined;
  }
  if (!(pid > 0) || !isWithin(cgroupOf(pid), machineCgroup(names))) return undefined;
  return argumentsOf(pid).includes(`--machine=${names.name}`) ? processOf(pid) : undefined;
}

/** Whether anything of the machine runs: after a `kill -9` of nspawn the guest does, without it. */
export function anythingRuns(names: SlotNames): boolean {
  const cgroup = machineCgroup(names);
  return runsUnderSystemd() ? isPopulated(`/sys/fs/cgroup${cgroup}`) : processesIn(cgroup).length > 0;
}

/**
 * Start the launcher, detached from this process in every way: it has its own session, a clean environment, and its
 * output goes to console.log (the one before is kept as console.log.1). Without its data volume the machine may get it
 * later, by {@link attachData}.
 * @returns a function that says whether the machine is starting or running
 */
export async function launch(names: SlotNames, host: string, withData = true): Promise<() => boolean> {
  await rm(names.nspawnPid, { force: true });
  if (existsSync(names.console)) await rename(names.console, `${names.console}.1`);
  if (!withData) await mkdir(names.devices, { recursive: true, mode: 0o755 });
  const env = {
    ...{ ROOT: names.rootDisk, MOUNT: names.mountPoint, PID: names.nspawnPid, LOCK: names.nspawnLock },
    ...(withData ? { DATA: names.dataDisk } : { DEVICES: names.devices }),
    ...{ NAME: names.name, HOST_NAME: host },
  };
  if (runsUnderSystemd()) {
    await (await open(names.console, "a", 0o600)).close();
    await startUnit(machineUnit(names, { ...env, FORM: "systemd-unit" }));
    return () => anythingRuns(names);
  }
  const console = await open(names.console, "a", 0o600);
  try {
    const child = spawn("unshare", ["-m", "--propagation", "private", "bash", LAUNCHER], {
      detached: true,
      stdio: ["ignore", console.fd, console.fd],
      cwd: "/",
      env: cleanEnvironment({ ...env, FORM: "private-cgroup2" }),
    });
    const failed = new Promise<never>((_, reject) => child.once("error", reject));
    const started = new Promise<void>((resolve) => child.once("spawn", () => resolve()));
    await Promise.race([started, failed]);
    child.unref();
    return () => (child.exitCode === null && child.signalCode === null) || anythingRuns(names);
  } finally {
    await console.close();
  }
}

/** systemd restarts the unit when the guest asks for a reboot, as its own template for nspawn machines does. */
export function machineUnit(names: SlotNames, env: Readonly<Record<string, string>>): TransientUnit {
  const properties = [
    "Type=exec",
    "Delegate=yes",
    "KillMode=mixed",
    "PrivateMounts=yes",
    "RestartForceExitStatus=133",
    "SuccessExitStatus=133",
    "RestartSec=100ms",
    "StartLimitIntervalSec=0",
    "TimeoutStopSec=60s",
    "TasksMax=16384",
    `StandardOutput=append:${names.console}`,
    `StandardError=append:${names.console}`,
  ];
  return { unit: names.unit, properties, env, argv: ["bash", LAUNCHER] };
}

/**
 * Ask the guest to reboot.
 * @returns the nspawn that ends with this
 * @throws if the machine does not run
 */
export function askForReboot(names: SlotNames): Process {
  const nspawn = nspawnOf(names);
  const init = nspawn === undefined ? undefined : initOf(nspawn.pid);
  if (nspawn === undefined || init === undefined) throw new Error(`${names.name} does not run, so it cannot reboot`);
  process.kill(init.pid, REBOOT_SIGNAL);
  return nspawn;
}

/**
 * Give a machine that was started without its data volume that volume; one that has it is left alone. The caller sees to
 * it that no other machine has it.
 * @throws if another does, or the device cannot be made
 */
export async function attachData(names: SlotNames): Promise<void> {
  const node = join(names.devices, "bailiwick-data");
  if (!existsSync(names.devices) || existsSync(node)) return;
  const others = await loopDevicesOf(names.dataDisk);
  if (others.length > 0)
    throw new Error(`${names.dataDisk} is still in use by ${others.join(", ")}; see \`losetup -l\``);
  const device = (await run("losetup", ["--find", "--show", names.dataDisk])).trim();
  try {
    const [major = "", minor = ""] = (await run("stat", ["-c", "%Hr %Lr", device])).trim().split(" ");
    await run("mknod", ["-m", "0660", node, "b", major, minor]);
  } catch (error) {
    await run("losetup", ["-d", device]);
    throw error;
  }
}

async function loopDevicesOf(disk: string): Promise<string[]> {
  return (await run("losetup", ["-j", disk])).split("\n").flatMap((row) => row.split(":")[0] || []);
}

/**
 * End the guest and everything around it, and wait until all of it is gone: processes, cgroup, mounts, loop devices.
 * @param graceSeconds how long the guest may take to power off by itself; 0: it is killed at once
 * @param hasData whether the data volume is this machine's; default: yes
 * @throws if something cannot be ended, naming it
 */
export async function halt(names: SlotNames, graceSeconds: number, hasData = true): Promise<void> {
  const nspawn = nspawnOf(names);
  if (nspawn !== undefined && graceSeconds > 0) {
    process.kill(nspawn.pid, "SIGTERM"); // nspawn tells the guest to power off
    const deadline = Date.now() + graceSeconds * 1000;
    while (anythingRuns(names) && Date.now() < deadline) await sleep(50);
  }
  if (runsUnderSystemd()) {
    // to stop it is to wait for its guest once more, a minute; either fails where there is no such unit
    await run("systemctl", ["kill", "--signal=SIGKILL", `${names.unit}.service`]).catch(() => undefined);
    await run("systemctl", ["stop", `${names.unit}.service`]).catch(() => undefined);
  }
  const env = { CGROUP: machineCgroup(names).slice(1) };
  await run("unshare", ["-m", "--propagation", "private", "bash", KILL_CGROUP], { env });
  for (const disk of [names.rootDisk, `${names.nextRoot}.new`, ...(hasData ? [names.dataDisk] : [])])
    await freeLoopDevices(disk);
  await rm(names.devices, { recursive: true, force: true });
  await rm(names.nspawnPid, { force: true });
  await removeLock(names);
  for (const kind of ["propagate", "unix-export"])
    await rm(`/run/systemd/nspawn/${kind}/${names.name}`, { recursive: true, force: true });
}

/** nspawn's lock is named by the loop device, which another machine may have by now: it goes only if nobody holds it. */
async function removeLock(names: SlotNames): Promise<void> {
  const path = (await readFile(names.nspawnLock, "utf8").catch(() => "")).trim();
  if (/^\/run\/systemd\/nspawn\/locks\/inode-[0-9:]+$/.test(path) && existsSync(path))
    await run("flock", ["-n", path, "rm", "-f", path]).catch(() => undefined);
  await rm(names.nspawnLock, { force: true });
}

/** Loop devices go with their last user, a moment later; one that was left over by a killed launcher is detached here. */
async function freeLoopDevices(disk: string): Promise<void> {
  for (let i = 0; existsSync(disk); i++) {
    const devices = await loopDevicesOf(disk);
    if (devices.length === 0) return;
    if (i === 250) throw new Error(`${disk} is still in use by ${devices.join(", ")}; see \`losetup -l\``);
    for (const device of devices) await run("losetup", ["-d", device]).catch(() => undefined); // freed meanwhile
    await sleep(20);
  }
}
