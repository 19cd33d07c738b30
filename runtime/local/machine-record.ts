import { readdir, readFile, rename, writeFile } from "node:fs/promises";
import * as z from "zod";
import { machinesDirectory } from "./directories.ts";
import type { SlotNames } from "./slot.ts";

/** `machine.json` in a slot's directory: written once the root disk is whole, so its absence means there is no machine. */
const every = {
  version: z.literal(1),
  slot: z.string(),
  instance: z.string(),
  host: z.string(),
  image: z.string(),
  port: z.number().int().min(1).max(65535),
};
const MachineRecord = z.discriminatedUnion("engine", [
  z.strictObject({ ...every, engine: z.literal("nspawn") }),
  z.strictObject({ ...every, engine: z.literal("qemu"), memoryMiB: z.number().int(), cpus: z.number().int() }),
]);
export type MachineRecord = z.infer<typeof MachineRecord>;

/**
 * Undefined if the slot has no machine.
 * @throws if the file is there but is no record, naming it
 */
export async function readRecord(names: SlotNames): Promise<MachineRecord | undefined> {
  let text: string;
  try {
    text = await readFile(names.record, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    return MachineRecord.parse(JSON.parse(text));
  } catch {
    throw new Error(`${names.record}: not a machine record that this version can read; destroy the machine`);
  }
}

/** Atomic: a reader sees the old record or the new one. */
export async function writeRecord(names: SlotNames, record: MachineRecord): Promise<void> {
  const next = `${names.record}.new`;
  await writeFile(next, `${JSON.stringify(record, null, 2)}\n`, { mode: 0o600 });
  await rename(next, names.record);
}

/** Names of the folders in the directory of machines; empty if there is none. */
export async function slotsOnDisk(): Promise<string[]> {
  try {
    const entries = await readdir(machinesDirectory(), { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
