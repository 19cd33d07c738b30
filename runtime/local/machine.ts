import { existsSync } from "node:fs";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { UPLOAD_SCRIPT } from "../ssh/upload-script.ts";
import { lastConsoleLines } from "./console.ts";
import { machinesDirectory } from "./directories.ts";
import { ENGINES, haltAny } from "./engines.ts";
import { type BootOptions, checkWords, type MachinePlan, type PlacedComponent, type Progress } from "./machine-plan.ts";
import { type MachineRecord, readRecord, slotsOnDisk, writeRecord } from "./machine-record.ts";
import { type MachineStatus, machineStatus, type RunningMachine } from "./machine-status.ts";
import { anythingRuns, attachData } from "./nspawn.ts";
import { placeComponents } from "./place-components.ts";
import { run } from "./run-program.ts";
import { besideOf, namesOf, type SlotNames, serveFrom } from "./slot.ts";
import { waitForSsh } from "./ssh-banner.ts";
import { GUEST_NETWORK, startUplink, stopUplink } from "./uplink.ts";

export { listMachines, type MachineStatus, machineStatus, type RunningMachine } from "./machine-status.ts";

const PREPARE_ROOT = join(import.meta.dirname, "prepare-root.sh");
const DEFAULT_MEMORY_MIB = 2048;
const DEFAULT_CPUS = 2;
/** Nothing of the machine is worth waiting for, yet an orderly end is the cleanest. */
const DESTROY_GRACE_SECONDS = 5;

/**
 * Boot the machine of a slot, and return once its SSH server answers. Needs root.
 * If it runs already with this instance id, it is left alone; if it stands still with it, it is started. With another
 * instance id the root disk is replaced and the data volume kept: that is how a machine is rebuilt.
 * @throws on malformed arguments, and when the machine does not come up: then the message ends with what its console
 * said last, everything that was started is stopped again, and only the directory stays, for {@link destroyMachine}
 */
export async function bootMachine(plan: MachinePlan): Promise<RunningMachine> {
  const names = namesOf(plan.slot);
  await checkPlan(plan);
  await clearBeside(plan.slot);
  const found = await machineStatus(plan.slot);
  if (found.state !== "absent" && found.instance === plan.instance) return startMachine(plan.slot, plan);

  await mkdir(machinesDirectory(), { recursive: true, mode: 0o700 });
  await mkdir(names.directory, { recursive: true, mode: 0o700 });
  // a machine that is to be replaced goes on serving until the next root is whole; where there is none, time is saved
  const whileBooting = found.state === "absent" && plan.engine === "nspawn" ? (plan.components ?? []) : [];
  await makeNextRoot(names, plan, whileBooting.length > 0 ? [] : plan.components);
  if (found.state !== "absent") plan.progress(`replacing machine ${names.name}; its data volume is kept`);
  await haltAll(names, await graceOf(names));
  await rm(names.record, { force: true });
  await firstBoot(names, plan, true, whileBooting);
  return runningStatus(plan.slot);
}

/**
 * Boot the machine that is to replace the one which runs in the slot, beside it: with another instance id, a network and a
 * port of its own, and without the data volume. The other one goes on serving, until {@link takePlace}. One that was made
 * before with this instance id is found again, or started. Only nspawn can be given its data volume later. Needs root.
 * @throws as {@link bootMachine}; what serves is not touched then
 */
export async function bootBeside(plan: MachinePlan & { readonly engine: "nspawn" }): Promise<RunningMachine> {
  await checkPlan(plan);
  const names = besideOf(plan.slot);
  const record = await readRecord(names).catch(() => undefined);
  if (record?.instance !== plan.instance) {
    await clearBeside(plan.slot);
    await makeNextRoot(names, plan, plan.components);
    plan.progress(`its machine ${namesOf(plan.slot).name} serves until ${names.name} is ready`);
    await firstBoot(names, plan, false);
  } else await startBeside(plan.slot, plan);
  return runningStatus(plan.slot, plan.instance);
}

/** Starts again what was made beside, if anything was and it stands still. Needs root. */
export async function startBeside(slot: string, options: BootOptions = {}): Promise<void> {
  requireRoot();
  const names = besideOf(slot);
  const record = await readRecord(names);
  if (record !== undefined) await comeUp(names, slot, record, options, false);
}

/**
 * The machine of this instance, made beside, takes the place of the one that served: that is powered off in order, then its
 * data volume goes over. From the moment that the old one has ended the new one is the slot's machine, whatever fails
 * afterwards. Without such a machine the slot's own gets its data volume, if it has yet to get it. Needs root if anything
 * is to be done.
 * @returns whether a place was taken: then {@link clearBeside} removes what is left of the old one
 * @throws if the old one cannot be ended, or its volume cannot be had; call it again then
 */
export async function takePlace(slot: string, instance: string, progress: Progress): Promise<boolean> {
  const names = besideOf(slot);
  const takes = (await readRecord(names).catch(() => undefined))?.instance === instance;
  if (takes) {
    requireRoot(); // here, not before: whoever reads the state may push to a machine that lacks nothing
    const old = namesOf(slot);
    progress(`stopping machine ${old.name}; ${names.name} takes its place and its data volume`);
    await haltAny(old, await graceOf(old)); // its volume is free, or this throws
    await rm(old.record, { force: true }); // it is no machine any more, least of all one beside the new one
    await serveFrom(names);
  }
  await attachData(namesOf(slot));
  return takes;
}

/** Ends and removes the machine that does not serve: one that was made beside, or whose place was taken. Needs root. */
export async function clearBeside(slot: string): Promise<void> {
  requireRoot();
  const names = besideOf(slot);
  await haltAll(names, 0, false);
  await rm(names.record, { force: true });
  for (const path of names.leavings) await rm(path, { force: true, recursive: true });
}

/** @throws naming what of the plan is malformed */
async function checkPlan(plan: MachinePlan): Promise<void> {
  const names = namesOf(plan.slot);
  checkWords(plan);
  requireRoot();
  await refuseNamesake(plan.slot, names);
}

async function firstBoot(
  names: SlotNames,
  plan: MachinePlan,
  withData: boolean,
  place: readonly PlacedComponent[] = [],
): Promise<void> {
  try {
    await rename(names.nextRoot, names.rootDisk);
    if (withData) await makeDataDisk(names, plan);
    await ENGINES[plan.engine].prepare(names, plan.image.path);
    const port = await startUplink(names, plan.slot, { target: ENGINES[plan.engine].sshPort });
    const record = recordFor(plan, port);
    await writeRecord(names, record);
    await launchAndWait(names, record, plan, withData, place);
  } catch (error) {
    await haltAll(names, 0, withData);
    await forgetRoot(names); // half a first boot is no machine: the next try begins anew
    throw error;
  }
}

/** Ids are random, so this is about a slot that was made up by hand: two machines may not share namespaces. */
async function refuseNamesake(slot: string, names: SlotNames): Promise<void> {
  const other = (await slotsOnDisk()).find((found) => found !== slot && found.slice(0, 8) === slot.slice(0, 8));
  if (other !== undefined)
    throw new Error(
      `slot ${slot}: its first 8 digits are those of slot ${other}, whose machine is named ${names.name}`,
    );
}

function recordFor(plan: MachinePlan, port: number): MachineRecord {
  const { slot, instance, host, engine, memoryMiB = DEFAULT_MEMORY_MIB, cpus = DEFAULT_CPUS } = plan;
  const every = { version: 1, slot, instance, host, image: plan.image.digest, port } as const;
  return engine === "qemu" ? { ...every, engine, memoryMiB, cpus } : { ...every, engine };
}

/** @throws if it cannot be made; then nothing has changed for a machine that runs in the slot */
async function makeNextRoot(
  names: SlotNames,
  plan: MachinePlan,
  components: readonly PlacedComponent[] = [],
): Promise<void> {
  plan.progress("making the root disk");
  const { network } = ENGINES[plan.engine];
  const env = {
    ENGINE: plan.engine,
    IMAGE: plan.image.path,
    ROOT: names.nextRoot,
    ROOT_GIB: String(plan.rootGiB),
    HOST_NAME: plan.host,
    INSTANCE: plan.instance,
    INTERFACE: network.interface,
    ADDRESS: network.address,
    PREFIX: String(network.prefix),
    GATEWAY: network.gateway,
    RESOLVER: GUEST_NETWORK.resolver,
    COMPONENTS: components
      .map(({ digest, archive }) => [digest, archive.sha256, archive.bytes, archive.path].join(" "))
      .join("\n"),
    RECEIVE: UPLOAD_SCRIPT,
  };
  const args = ["-m", "--propagation", "private", "bash", PREPARE_ROOT];
  await run("unshare", args, { env, input: plan.userData });
}

async function makeDataDisk(names: SlotNames, plan: MachinePlan): Promise<void> {
  if (existsSync(names.dataDisk)) return;
  if (plan.dataFrom !== undefined) return takeOver(plan.dataFrom, names, plan.progress);
  const file = await open(`${names.dataDisk}.new`, "w", 0o600);
  await file.truncate(plan.dataGiB * 2 ** 30);
  await file.close();
  await run("mv", ["-n", `${names.dataDisk}.new`, names.dataDisk]);
}

/** Moves the data volume that was kept in another slot into this one: there is never a second copy of it. */
async function takeOver(slot: string, to: SlotNames, progress: Progress): Promise<void> {
  const from = namesOf(slot);
  const found = await machineStatus(slot);
  if (found.state !== "absent")
    throw new Error(
      `dataFrom: received slot ${slot}, whose machine of host "${found.host}" is still there; destroy it and keep its data volume first`,
    );
  if (!found.dataVolume)
    throw new Error(
      `dataFrom: received slot ${slot}, which has no data volume; \`bailiwick local status\` lists the slots that have one`,
    );
  progress(`taking over the data volume of slot ${slot}`);
  await rename(from.dataDisk, to.dataDisk);
  await rm(from.directory, { recursive: true, force: true });
}

async function launchAndWait(
  names: SlotNames,
  record: MachineRecord,
  { progress = () => undefined, bootSeconds }: BootOptions,
  withData: boolean,
  place: readonly PlacedComponent[] = [],
): Promise<void> {
  const engine = ENGINES[record.engine];
  progress(`booting ${names.name}`);
  const alive = await engine.launch(names, record, progress, withData);
  const failed = new AbortController();
  const placing = placeComponents(names, place, { alive, signal: failed.signal, progress });
  placing.catch(() => undefined); // awaited below
  try {
    await awaitSsh(names, record.port, bootSeconds ?? engine.bootSeconds, alive);
  } catch (error) {
    failed.abort();
    await placing.catch(() => undefined); // until then it holds the disk
    throw error;
  }
  await placing;
  progress(`ssh answers on 127.0.0.1:${record.port}`);
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
  await comeUp(names, slot, await recordOf(slot, names), options, true);
  return runningStatus(slot);
}

async function comeUp(
  names: SlotNames,
  slot: string,
  record: MachineRecord,
  options: BootOptions,
  withData: boolean,
): Promise<void> {
  const engine = ENGINES[record.engine];
  const running = engine.processOf(names) !== undefined;
  if (!running) await haltAll(names, 0, withData); // what a killed nspawn left running
  try {
    const port = await startUplink(names, slot, { target: engine.sshPort, before: record.port });
    if (port !== record.port) {
      options.progress?.(`port ${record.port} is taken by another program; using ${port}`);
      await writeRecord(names, { ...record, port });
    }
    if (!running) await launchAndWait(names, { ...record, port }, options, withData);
    else {
      await awaitSsh(names, port, options.bootSeconds ?? engine.bootSeconds, () => lives(names));
      if (withData) await attachData(names); // it took another's place, and was cut short
    }
  } catch (error) {
    if (!running) await haltAll(names, 0, withData);
    throw error;
  }
}

/**
 * Power the machine off in order; what is left after `graceSeconds` (default: 60 for nspawn, 120 for QEMU) is killed. Its disks stay. A slot that
 * does not run, or does not exist, is fine. Needs root.
 */
export async function stopMachine(slot: string, options: { readonly graceSeconds?: number } = {}): Promise<void> {
  requireRoot();
  const names = namesOf(slot);
  await haltAll(besideOf(slot), DESTROY_GRACE_SECONDS, false);
  await haltAll(names, options.graceSeconds ?? (await graceOf(names)));
}

/**
 * Reboot the machine in order and return once its SSH server answers again, on the same port. Needs root.
 * @throws if it does not run, or does not come back
 */
export async function rebootMachine(slot: string, options: BootOptions = {}): Promise<RunningMachine> {
  requireRoot();
  const names = namesOf(slot);
  const record = await recordOf(slot, names);
  const engine = ENGINES[record.engine];
  const seconds = options.bootSeconds ?? engine.bootSeconds;
  const deadline = Date.now() + seconds * 1000;
  options.progress?.(`rebooting ${names.name}`);
  const alive = await engine.reboot(names, record, seconds, options.progress ?? (() => undefined));
  await awaitSsh(names, record.port, (deadline - Date.now()) / 1000, alive);
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
  await clearBeside(slot);
  await haltAll(names, keepData ? await graceOf(names) : DESTROY_GRACE_SECONDS);
  if (!existsSync(names.directory)) return;
  await rm(names.record, { force: true });
  if (keepData && existsSync(names.dataDisk)) {
    for (const entry of await readdir(names.directory))
      if (join(names.directory, entry) !== names.dataDisk)
        await rm(join(names.directory, entry), { recursive: true, force: true });
  } else await rm(names.directory, { recursive: true, force: true });
}

async function haltAll(names: SlotNames, graceSeconds: number, hasData = true): Promise<void> {
  await haltAny(names, graceSeconds, hasData);
  await stopUplink(names);
}

/** How long the machine may take to power off in order, seconds; one that was never whole needs no time. */
async function graceOf(names: SlotNames): Promise<number> {
  const record = await readRecord(names).catch(() => undefined); // destroyed, too, when its record cannot be read
  return ENGINES[record?.engine ?? "nspawn"].graceSeconds;
}

function lives(names: SlotNames): boolean {
  return ENGINES.qemu.processOf(names) !== undefined || anythingRuns(names);
}

/** The record goes first: without it there is no machine, whatever else is in the directory. */
async function forgetRoot(names: SlotNames): Promise<void> {
  await rm(names.record, { force: true });
  await rm(names.rootDisk, { force: true });
  await rm(names.nextRoot, { force: true });
}

async function recordOf(slot: string, names: SlotNames): Promise<MachineRecord> {
  const record = await readRecord(names);
  if (record === undefined) throw new Error(`slot ${slot} has no machine; deploy it first`);
  return record;
}

async function runningStatus(slot: string, instance?: string): Promise<RunningMachine> {
  const status: MachineStatus = await machineStatus(slot, instance);
  if (status.state !== "running")
    throw new Error(`${namesOf(slot).name} ended right after its SSH server had answered`);
  return status;
}

function requireRoot(): void {
  if (process.getuid?.() !== 0)
    throw new Error("local machines need root: namespaces, loop devices and mounts; run the command again with sudo");
}
