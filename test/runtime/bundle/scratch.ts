import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { onTestFinished } from "vitest";
import { nodeBinary } from "../../../runtime/bundle/node.ts";

/** A folder for one test, removed after it. */
export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), "bailiwick-bundle-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Writes files by their relative paths, with the directories they need. */
export function write(folder: string, files: Readonly<Record<string, string>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
}

/** An empty cache, but for the bundled Node.js, which the real cache has or fetches. */
export async function emptyCache(): Promise<string> {
  const node = dirname(dirname(await nodeBinary()));
  const cache = scratch();
  symlinkSync(dirname(node), join(cache, "node"));
  return cache;
}
