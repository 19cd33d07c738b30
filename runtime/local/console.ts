import { readFile } from "node:fs/promises";
import type { SlotNames } from "./slot.ts";

/** What the machine's console said last, without terminal codes; empty if it said nothing. */
export async function lastConsoleLines(names: SlotNames, count = 15): Promise<string> {
  const text = await readFile(names.console, "utf8").catch(() => "");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: terminal codes begin with the escape character
  const plain = text.replace(/\u001b\[[0-9;?]*[A-Za-z]|\u001b[()][A-Z0-9]|\r/g, "");
  return plain.trim().split("\n").slice(-count).join("\n");
}
