import { readFileSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
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

/**
 * A slot has two sides, for a machine and for the one that is made beside it to take its place. The side that serves is
 * said by a file; without it that is `a`. They have nothing in common but the folder and the data volume.
 */
export type Side = "a" | "b";

/** Everything on the operator's machine that is named after a slot. */
export interface SlotNames {
  readonly side: Side;
  /** Says which side serves. */
  readonly sideFile: string;
  /** Machine, network namespace and cgroup: `bw-` and the first 8 digits of the slot, and `-b` on that side. */
  readonly name: string;
  /** Unit of systemd, where systemd runs the machine. */
  readonly unit: string;
  readonly directory: string;
  readonly netns: string;
  readonly rootDisk: string;
  /** Where a container's root disk is mounted, in a mount namespace of its own: nspawn takes each path once. */
  readonly mountPoint: string;
  /** The root disk of the machine that is to come, made while the one before still runs. */
  readonly nextRoot: string;
  /** The one thing of both sides. */
  readonly dataDisk: string;
  /** Folder of the guest's /dev/disk/by-id, if the machine was started before it could have the data volume. */
  readonly devices: string;
  /** Of this side, what was written here beside the disks: to be removed with it. */
  readonly leavings: readonly string[];
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

/**
 * Names of the side that serves, or of the one that is given.
 * @throws if the slot is no id
 */
export function namesOf(slot: string, side?: Side): SlotNames {
  const short = checkedId("slot", slot).slice(0, 8);
  const directory = join(machinesDirectory(), slot);
  const sideFile = join(directory, "side");
  const of = side ?? sideIn(sideFile);
  const end = of === "b" ? "-b" : "";
  const name = `bw-${short}${end}`;
  const file = (stem: string, extension: string) => join(directory, `${stem}${end}${extension}`);
  const names = {
    rootDisk: file("root", ".img"),
    mountPoint: file("root", ""),
    record: file("machine", ".json"),
    console: file("console", ".log"),
    kernel: file("vmlinuz", ""),
    qemuPid: file("qemu", ".pid"),
    monitor: file("monitor", ""),
    nspawnPid: file("nspawn", ".pid"),
    nspawnLock: file("nspawn", ".lock"),
    forwardPid: file("forward", ".pid"),
    pastaPid: file("pasta", ".pid"),
    pastaLog: file("pasta", ".log"),
    nextRoot: file("root.next", ".img"),
  };
  return {
    ...names,
    side: of,
    sideFile,
    name,
    unit: `bailiwick-${short}${end}`,
    directory,
    netns: `/run/netns/${name}`,
    dataDisk: join(directory, "data.img"),
    devices: `/dev/bailiwick/${name}`,
    leavings: [...Object.values(names), `${names.console}.1`],
  };
}

/** Names of the side that does not serve. */
export function besideOf(slot: string): SlotNames {
  return namesOf(slot, namesOf(slot).side === "a" ? "b" : "a");
}

/** From now on this side serves. Atomic: a reader sees the one or the other. */
export async function serveFrom({ side, sideFile }: SlotNames): Promise<void> {
  await writeFile(`${sideFile}.new`, `${side}\n`, { mode: 0o600, flush: true });
  await rename(`${sideFile}.new`, sideFile);
}

function sideIn(file: string): Side {
  try {
    return readFileSync(file, "utf8").trim() === "b" ? "b" : "a";
  } catch {
    return "a"; // nothing was ever made beside
  }
}
