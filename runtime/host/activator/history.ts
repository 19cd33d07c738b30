import { open, readFile } from "node:fs/promises";
import { HistoryEntry } from "../../spec/activator.ts";
import { paths } from "./paths.ts";

/** Adds one line to the history of releases, durably. */
export async function record(entry: Omit<HistoryEntry, "at">): Promise<void> {
  const file = await open(paths.history, "a", 0o644);
  try {
    await file.writeFile(`${JSON.stringify({ at: new Date().toISOString(), ...entry })}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Oldest first: the order is the file's, since the host's clock may have been set back. */
export async function history(): Promise<HistoryEntry[]> {
  const text = await readFile(paths.history, "utf8").catch(() => "");
  return text.split("\n").flatMap((line) => {
    if (line === "") return [];
    try {
      return [HistoryEntry.parse(JSON.parse(line))];
    } catch {
      return []; // cut off by a power loss
    }
  });
}
