import { existsSync } from "node:fs";
import { readRecord, slotsOnDisk } from "./machine-record.ts";
import { machineCgroup, nspawnOf } from "./nspawn.ts";
import { processesIn, startedAt } from "./processes.ts";
import { isEmulated, qemuOf } from "./qemu.ts";
import { besideOf, checkedId, namesOf, type SlotNames } from "./slot.ts";

interface KnownMachine {
  readonly slot: string;
  readonly instance: string;
  readonly host: string;
  readonly address: "127.0.0.1";
  /** Port of `address` that leads to the machine's SSH server while it runs. */
  readonly port: number;
}

export interface RunningMachine extends KnownMachine {
  readonly state: "running";
  /** Of systemd-nspawn or QEMU; absent when nspawn was killed and the guest lives on without it: start the machine again. */
  readonly pid?: number;
  /**
   * Start of the oldest process that still runs, ISO 8601, UTC. A reboot is a new start; but QEMU goes on when the guest
   * reboots by itself.
   */
  readonly since: string;
  /** Whether every instruction of the guest is translated, which is about ten times slower; absent for a container. */
  readonly emulated?: boolean;
}

/** What is known of a slot, found on the machine itself and not remembered by any process. */
export type MachineStatus =
  | RunningMachine
  | (KnownMachine & { readonly state: "stopped" })
  | { readonly state: "absent"; readonly slot: string; readonly dataVolume: boolean };

/**
 * Whether the slot's machine runs, and where its SSH server is. Works in any process, and as any user who may read the
 * state directory.
 * @param instance if it is that of a machine that was made beside the one that serves, that machine is told of. Default:
 *   the one that serves
 * @throws if the slot is no id, or its record cannot be read
 */
export async function machineStatus(slot: string, instance?: string): Promise<MachineStatus> {
  const serving = await statusOf(slot, namesOf(slot));
  if (instance === undefined || (serving.state !== "absent" && serving.instance === instance)) return serving;
  const beside = await statusOf(slot, besideOf(slot));
  return beside.state !== "absent" && beside.instance === instance ? beside : serving;
}

async function statusOf(slot: string, names: SlotNames): Promise<MachineStatus> {
  const record = await readRecord(names);
  if (record === undefined) return { state: "absent", slot, dataVolume: existsSync(names.dataDisk) };
  const { instance, host, port } = record;
  const known = { slot, instance, host, address: "127.0.0.1", port } as const;
  const found = record.engine === "qemu" ? qemuOf(names) : nspawnOf(names);
  if (found !== undefined) {
    const emulated = record.engine === "qemu" ? { emulated: isEmulated(found.pid) } : {};
    return { state: "running", ...known, pid: found.pid, since: startedAt(found), ...emulated };
  }
  const [oldest] = processesIn(machineCgroup(names)).sort((a, b) => a.startTicks - b.startTicks);
  if (oldest !== undefined) return { state: "running", ...known, since: startedAt(oldest) };
  return { state: "stopped", ...known };
}

/** Every slot of the state directory that has a machine or a data volume, in the order of their ids. */
export async function listMachines(): Promise<MachineStatus[]> {
  const slots = (await slotsOnDisk()).filter(isSlot).sort();
  const found = await Promise.all(slots.map((slot) => machineStatus(slot)));
  return found.filter((status) => status.state !== "absent" || status.dataVolume);
}

function isSlot(name: string): boolean {
  try {
    return checkedId("slot", name) === name;
  } catch {
    return false;
  }
}
