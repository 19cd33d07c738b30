import { join } from "node:path";
import { machinesDirectory } from "./directories.ts";

const ID = /^[a-f0-9]{8}[a-f0-9-]{0,56}$/;

/**
 * The id as it was given, if it is one: 8 to 64 of a-f, 0-9 and `-`, the first 8 without a hyphen, as in a UUID. Ids
 * become paths and names of namespaces, so anything else is refused.
 * @throws naming what was received
 */
export function checkedId(what: "slot" | "instance", id: string): string {
  if (!ID.test(id))
    throw new Error(
      `${what}: received ${JSON.stringify(id)}, which is no id; use a UUID in lower case (8 to 64 of a-f, 0-9 and -)`,
    );
  return id;
}

/** Everything on the operator's machine that is named after a slot. */
export interface SlotNames {
  /** Machine, network namespace and cgroup: `bw-` and the first 8 digits of the slot. */
  readonly name: string;
  /** Unit of systemd, where systemd runs the machine. */
  readonly unit: string;
  readonly directory: string;
  readonly netns: string;
  readonly rootDisk: string;
  readonly dataDisk: string;
  readonly record: string;
  readonly console: string;
  /** The virtual machine's kernel. */
  readonly kernel: string;
  /** Holds pid and start of QEMU. */
  readonly qemuPid: string;
  /** Socket of QEMU's monitor. */
  readonly monitor: string;
  readonly nspawnPid: string;
  /** Holds the path of nspawn's lock file. */
  readonly nspawnLock: string;
  /** Holds pid and start of the forward. */
  readonly forwardPid: string;
  readonly pastaPid: string;
  readonly pastaLog: string;
}

/** @throws if the slot is no id */
export function namesOf(slot: string): SlotNames {
  const short = checkedId("slot", slot).slice(0, 8);
  const directory = join(machinesDirectory(), slot);
  const name = `bw-${short}`;
  return {
    name,
    unit: `bailiwick-${short}`,
    directory,
    netns: `/run/netns/${name}`,
    rootDisk: join(directory, "root.img"),
    dataDisk: join(directory, "data.img"),
    record: join(directory, "machine.json"),
    console: join(directory, "console.log"),
    kernel: join(directory, "vmlinuz"),
    qemuPid: join(directory, "qemu.pid"),
    monitor: join(directory, "monitor"),
    nspawnPid: join(directory, "nspawn.pid"),
    nspawnLock: join(directory, "nspawn.lock"),
    forwardPid: join(directory, "forward.pid"),
    pastaPid: join(directory, "pasta.pid"),
    pastaLog: join(directory, "pasta.log"),
  };
}
