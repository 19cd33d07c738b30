import { copyFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { chooseAccelerator } from "./accelerator.ts";
import { lastConsoleLines } from "./console.ts";
import type { MachineRecord } from "./machine-record.ts";
import { anythingRuns, askForReboot, halt, launch, nspawnOf } from "./nspawn.ts";
import type { Process } from "./processes.ts";
import { haltQemu, launchQemu, powerOff, QEMU, qemuOf } from "./qemu.ts";
import { VIRTUAL_NETWORK } from "./qemu-arguments.ts";
import { run } from "./run-program.ts";
import type { SlotNames } from "./slot.ts";
import { GUEST_NETWORK } from "./uplink.ts";

type Progress = (line: string) => void;

/** What differs between the ways to run a machine. */
interface Engine {
  /** Of the guest's own interface, for its seed. */
  readonly network: {
    readonly interface: string;
    readonly address: string;
    readonly prefix: number;
    readonly gateway: string;
  };
  /** Port of 127.0.0.1 in the machine's namespace that is its SSH server. */
  readonly sshPort: number;
  /** How long it may take until its SSH server answers, and to power off in order, seconds. */
  readonly bootSeconds: number;
  readonly graceSeconds: number;
  /** The process that is the machine to the operator, if it lives. */
  processOf(names: SlotNames): Process | undefined;
  /** Puts into the machine's directory what it needs beside its disks. `image` is the path of the image's root.img. */
  prepare(names: SlotNames, image: string): Promise<void>;
  /**
   * @param withData false: without its data volume, to be given it later; default: true
   * @returns a function that says whether the machine is starting or running
   */
  launch(names: SlotNames, record: MachineRecord, progress: Progress, withData?: boolean): Promise<() => boolean>;
  /**
   * Reboots it in order, and returns once it is starting again.
   * @returns as `launch`
   * @throws if it does not run, or does not go down within `seconds`
   */
  reboot(names: SlotNames, record: MachineRecord, seconds: number, progress: Progress): Promise<() => boolean>;
}

const nspawn: Engine = {
  network: GUEST_NETWORK,
  sshPort: 22,
  bootSeconds: 120,
  graceSeconds: 60,
  processOf: nspawnOf,
  prepare: async () => undefined,
  launch: (names, { host }, _progress, withData) => launch(names, host, withData),
  async reboot(names, _record, seconds) {
    const deadline = Date.now() + seconds * 1000;
    const before = askForReboot(names);
    const rebooted = () => {
      const now = nspawnOf(names);
      return now !== undefined && (now.pid !== before.pid || now.startTicks !== before.startTicks);
    };
    while (!rebooted() && Date.now() < deadline) await sleep(50);
    if (!rebooted()) throw await stays(names, seconds);
    return () => anythingRuns(names);
  },
};

/** Without KVM each instruction of the guest is translated, so its times are those of a slow computer. */
const qemu: Engine = {
  network: VIRTUAL_NETWORK,
  sshPort: VIRTUAL_NETWORK.sshPort,
  bootSeconds: 300,
  graceSeconds: 120,
  processOf: qemuOf,
  // the cache may be deleted, and the machine must start all the same
  prepare: (names, image) => copyFile(join(dirname(image), "vmlinuz"), names.kernel),
  async launch(names, record, progress) {
    if (record.engine !== "qemu") throw new Error(`${names.name}: its record is not that of a virtual machine`);
    await run(QEMU, ["--version"]).catch(() => {
      throw new Error(`${QEMU}: not installed on this machine; apt-get install qemu-system-x86`);
    });
    const accelerator = await chooseAccelerator({ kernel: names.kernel, image: record.image, progress });
    return launchQemu(names, { ...record, accelerator });
  },
  async reboot(names, record, seconds, progress) {
    if (qemuOf(names) === undefined) throw new Error(`${names.name} does not run, so it cannot reboot`);
    if (!(await powerOff(names, seconds))) throw await stays(names, seconds);
    return qemu.launch(names, record, progress);
  },
};

export const ENGINES = { nspawn, qemu } as const;

/** Ends whatever runs in the slot, by whichever engine: a machine's engine may have been changed, and a boot may have failed. */
export async function haltAny(names: SlotNames, graceSeconds: number, hasData = true): Promise<void> {
  await haltQemu(names, graceSeconds);
  await halt(names, graceSeconds, hasData);
}

async function stays(names: SlotNames, seconds: number): Promise<Error> {
  const last = await lastConsoleLines(names);
  return new Error(`${names.name} did not go down within ${seconds} s; its console said last:\n${last}`);
}
