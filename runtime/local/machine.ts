import { existsSync } from "node:fs";
import { mkdir, open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { Name } from "../spec/names.ts";
import { machinesDirectory } from "./directories.ts";
import { type MachineRecord, readRecord, slotsOnDisk, writeRecord } from "./machine-record.ts";
import { type MachineStatus, machineStatus, type RunningMachine } from "./machine-status.ts";
import { anythingRuns, askForReboot, halt, lastConsoleLines, launch, nspawnOf } from "./nspawn.ts";
import { run } from "./run-program.ts";
import { checkedId, namesOf, type SlotNames } from "./slot.ts";
import { waitForSsh } from "./ssh-banner.ts";
import { GUEST_NETWORK, startUplink, stopUplink } from "./uplink.ts";

export { listMachines, machineStatus, type RunningMachine } from "./machine-status.ts";

const PREPARE_ROOT = join(import.meta.dirname, "prepare-root.sh");
const DEFAULT_BOOT_SECONDS = 120;
const DEFAULT_GRACE_SECONDS = 60;
/** Nothing of the machine is worth waiting for, yet an orderly end is the cleanest. */
const DESTROY_GRACE_SECONDS = 5;

type Progress = (line: string) => void;

/** How to come up. `progress` is told each step, default: nobody; `bootSeconds` is the longest wait, default: 120. */
export interface BootOptions {
  readonly progress?: Progress;
  readonly bootSeconds?: number;
}

/** What {@link bootMachine} makes a machine from. */
export interface MachinePlan {
  /** UUID of the machine's place: its directory, namespace and cgroup are named by it; it and its data volume stay. */
  readonly slot: string;
  /** UUID of this incarnation: another one replaces the root disk. It is cloud-init's instance id. */
  readonly instance: string;
  readonly host: string;
  /**
   * systemd-nspawn: a container on the operator's own kernel. It is no security boundary like a VM's: root in it is
   * powerful on the operator's machine. Not there, or not enforced: AppArmor, auditd, kernel modules, a TPM, and the
   * size of the machine (memory, processors). On cgroup v1 `MemoryMax=`, `TasksMax=` and `CPUQuota=` of units inside do
   * nothing either. XFS project quotas need an operator's kernel that has them.
   */
  readonly engine: "nspawn";
  /** As {@link import("./image.ts").ensureImage} gives it. */
  readonly image: { readonly digest: string; readonly path: string };
  /** Size of the root disk, GiB, sparse; at least 3. */
  readonly rootGiB: number;
  /** Size of the data volume, GiB, sparse. One that exists keeps its size and content. */
  readonly dataGiB: number;
  /** Given to cloud-init (NoCloud). Written into the root disk only. */
  readonly userData: string;
  readonly progress: Progress;
  /** Longest wait for the SSH server, seconds. Default: 120. */
  readonly bootSeconds?: number;
}

const Sizes = z.object({
  host: Name,
  rootGiB: z.number().int().min(3).max(1024),
  dataGiB: z.number().int().min(1).max(65536),
  image: z.object({ path: z.string().startsWith("/") }),
});

/**
 * Boot the machine of a slot, and return once its SSH server answers. Needs root.
 * If it runs already with this instance id, it is left alone; if it stands still with it, it is started. With another
 * instance id the root disk is replaced and the data volume kept: that is how a machine is rebuilt.
 * @throws on malformed arguments, and when the machine does not come up: then the message ends with what its console
 * said last, everything that was started is stopped again, and only the directory stays, for {@link destroyMachine}
 */
export async function bootMachine(plan: MachinePlan): Promise<RunningMachine> {
  const names = namesOf(plan.slot);
  checkedId("instance", plan.instance);
  const sizes = Sizes.safeParse(plan);
  if (!sizes.success) throw new Error(`local machine: ${z.prettifyError(sizes.error).replaceAll("\n", " ")}`);
  requireRoot();
  await refuseNamesake(plan.slot, names);

  const found = await machineStatus(plan.slot);
  if (found.state !== "absent" && found.instance === plan.instance) return startMachine(plan.slot, plan);

  if (found.state !== "absent") plan.progress(`replacing machine ${names.name}; its data volume is kept`);
  await haltAll(names, DEFAULT_GRACE_SECONDS);
  await mkdir(machinesDirectory(), { recursive: true, mode: 0o700 });
  await mkdir(names.directory, { recursive: true, mode: 0o700 });
  await forgetRoot(names);
  try {
    await makeDisks(names, plan);
    const { slot, instance, host, engine } = plan;
    const port = await startUplink(names, slot);
    await writeRecord(names, { version: 1, slot, instance, host, engine, image: plan.image.digest, port });
    await launchAndWait(names, host, port, plan);
  } catch (error) {
    await haltAll(names, 0);
    await forgetRoot(names); // half a first boot is no machine: the next try begins anew
    throw error;
  }
  return runningStatus(plan.slot);
}

/** Ids are random, so this is about a slot that was made up by hand: two machines may not share namespaces. */
async function refuseNamesake(slot: string, names: SlotNames): Promise<void> {
  const other = (await slotsOnDisk()).find((found) => found !== slot && found.slice(0, 8) === slot.slice(0, 8));
  if (other !== undefined)
    throw new Error(
      `slot ${slot}: its first 8 digits are those of slot ${other}, whose machine is named ${names.name}`,
    );
}

async function makeDisks(names: SlotNames, plan: MachinePlan): Promise<void> {
  plan.progress("making the root disk");
  const env = {
    IMAGE: plan.image.path,
    ROOT: names.rootDisk,
    ROOT_GIB: String(plan.rootGiB),
    HOST_NAME: plan.host,
    INSTANCE: plan.instance,
    ADDRESS: GUEST_NETWORK.address,
    PREFIX: String(GUEST_NETWORK.prefix),
    GATEWAY: GUEST_NETWORK.gateway,
    RESOLVER: GUEST_NETWORK.resolver,
  };
  const args = ["-m", "--propagation", "private", "bash", PREPARE_ROOT];
  await run("unshare", args, { env, input: plan.userData });
  if (existsSync(names.dataDisk)) return;
  const file = await open(`${names.dataDisk}.new`, "w", 0o600);
  await file.truncate(plan.dataGiB * 2 ** 30);
  await file.close();
  await run("mv", ["-n", `${names.dataDisk}.new`, names.dataDisk]);
}

async function launchAndWait(
  names: SlotNames,
  host: string,
  port: number,
  { progress, bootSeconds = DEFAULT_BOOT_SECONDS }: BootOptions,
): Promise<void> {
  progress?.(`booting ${names.name}`);
  const alive = await launch(names, host);
  await awaitSsh(names, port, bootSeconds, alive);
  progress?.(`ssh answers on 127.0.0.1:${port}`);
}

async function awaitSsh(names: SlotNames, port: number, seconds: number, alive: () => boolean): Promise<void> {
  if (await waitForSsh(port, Date.now() + seconds * 1000, alive)) return;
  const what = alive()
    ? `no SSH server answered within ${seconds} s`
    : "the machine ended before its SSH server answered";
  throw new Error(`${names.name}: ${what}; its console said last:\n${await lastConsoleLines(names)}`);
}

/**
 * Start a machine that stands still, on the port it had if that is free; a running one only gets its uplink back if that
 * has ended. Needs root.
 * @throws if the slot has no machine, or it does not come up: then it is stopped again
 */
export async function startMachine(slot: string, options: BootOptions = {}): Promise<RunningMachine> {
  requireRoot();
  const names = namesOf(slot);
  const record = await recordOf(slot, names);
  const running = nspawnOf(names) !== undefined;
  if (!running) await haltAll(names, 0); // what a killed nspawn left running
  try {
    const port = await startUplink(names, slot, record.port);
    if (port !== record.port) {
      options.progress?.(`port ${record.port} is taken by another program; using ${port}`);
      await writeRecord(names, { ...record, port });
    }
    if (!running) await launchAndWait(names, record.host, port, options);
    else await awaitSsh(names, port, options.bootSeconds ?? DEFAULT_BOOT_SECONDS, () => anythingRuns(names));
  } catch (error) {
    if (!running) await haltAll(names, 0);
    throw error;
  }
  return runningStatus(slot);
}

/**
 * Power the machine off in order; what is left after `graceSeconds` (default: 60) is killed. Its disks stay. A slot that
 * does not run, or does not exist, is fine. Needs root.
 */
export async function stopMachine(slot: string, options: { readonly graceSeconds?: number } = {}): Promise<void> {
  requireRoot();
  await haltAll(namesOf(slot), options.graceSeconds ?? DEFAULT_GRACE_SECONDS);
}

/**
 * Reboot the machine in order and return once its SSH server answers again, on the same port. Needs root.
 * @throws if it does not run, or does not come back
 */
export async function rebootMachine(slot: string, options: BootOptions = {}): Promise<RunningMachine> {
  requireRoot();
  const names = namesOf(slot);
  const record = await recordOf(slot, names);
  const seconds = options.bootSeconds ?? DEFAULT_BOOT_SECONDS;
  const deadline = Date.now() + seconds * 1000;
  const before = askForReboot(names);
  options.progress?.(`rebooting ${names.name}`);
  const rebooted = () => {
    const now = nspawnOf(names);
    return now !== undefined && (now.pid !== before.pid || now.startTicks !== before.startTicks);
  };
  while (!rebooted() && Date.now() < deadline) await sleep(50);
  if (!rebooted())
    throw new Error(
      `${names.name} did not go down within ${seconds} s; its console said last:\n${await lastConsoleLines(names)}`,
    );
  await awaitSsh(names, record.port, (deadline - Date.now()) / 1000, () => anythingRuns(names));
  return runningStatus(slot);
}

/**
 * Remove the machine and everything of it, whatever state it is in: also after a boot that failed at any step, after its
 * nspawn was killed, when called again, and when the slot never existed. With `keepData` the data volume stays, and a
 * later boot in this slot finds it; then the machine also gets a minute to power off in order. Needs root.
 */
export async function destroyMachine(slot: string, options: { readonly keepData?: boolean } = {}): Promise<void> {
  requireRoot();
  const names = namesOf(slot);
  const keepData = options.keepData ?? false;
  await haltAll(names, keepData ? DEFAULT_GRACE_SECONDS : DESTROY_GRACE_SECONDS);
  if (!existsSync(names.directory)) return;
  await rm(names.record, { force: true });
  if (keepData && existsSync(names.dataDisk)) {
    for (const entry of await readdir(names.directory))
      if (join(names.directory, entry) !== names.dataDisk)
        await rm(join(names.directory, entry), { recursive: true, force: true });
  } else await rm(names.directory, { recursive: true, force: true });
}

async function haltAll(names: SlotNames, graceSeconds: number): Promise<void> {
  await halt(names, graceSeconds);
  await stopUplink(names);
}

/** The record goes first: without it there is no machine, whatever else is in the directory. */
async function forgetRoot(names: SlotNames): Promise<void> {
  await rm(names.record, { force: true });
  await rm(names.rootDisk, { force: true });
}

async function recordOf(slot: string, names: SlotNames): Promise<MachineRecord> {
  const record = await readRecord(names);
  if (record === undefined) throw new Error(`slot ${slot} has no machine; deploy it first`);
  return record;
}

async function runningStatus(slot: string): Promise<RunningMachine> {
  const status: MachineStatus = await machineStatus(slot);
  if (status.state !== "running")
    throw new Error(`${namesOf(slot).name} ended right after its SSH server had answered`);
  return status;
}

function requireRoot(): void {
  if (process.getuid?.() !== 0)
    throw new Error("local machines need root: namespaces, loop devices and mounts; run the command again with sudo");
}
