import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";

/** What one figure is measured against: at most this. */
export type Aims = Readonly<Record<string, number>>;

/**
 * Writes `bench/results/<name>.json`: the figures with an aim first, each beside its aim, then everything else that was
 * measured, then where. @returns the path
 */
export function writeResult(
  name: string,
  figures: Readonly<Record<string, number>>,
  aims: Aims,
  details: Readonly<Record<string, unknown>>,
): string {
  const folder = join(import.meta.dirname, "results");
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${name}.json`);
  const rounded = Object.fromEntries(
    Object.entries(figures).map(([key, value]) => [key, Number(value.toPrecision(3))]),
  );
  const held = Object.entries(aims).map(([key, aim]) => [key, { aim, held: (figures[key] ?? Number.NaN) <= aim }]);
  const machine = {
    cpus: cpus().length,
    model: cpus()[0]?.model ?? "unknown",
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
  };
  const commit = execFileSync("git", ["rev-parse", "HEAD"], { encoding: "utf8" }).trim();
  const document = {
    ...rounded,
    aims: Object.fromEntries(held),
    details,
    at: new Date().toISOString(),
    commit,
    machine,
  };
  writeFileSync(path, `${JSON.stringify(document, null, 2)}\n`);
  for (const [key, value] of Object.entries(rounded)) {
    const aim = aims[key];
    console.log(`${key.padEnd(28)} ${String(value).padStart(8)}${aim === undefined ? "" : `   aim <= ${aim}`}`);
  }
  return path;
}

/** Middle of the values; of an even number the lower one. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
}

/** Seconds that the work took, and what it gave. */
export async function timed<T>(work: () => Promise<T>): Promise<{ seconds: number; value: T }> {
  const start = performance.now();
  const value = await work();
  return { seconds: (performance.now() - start) / 1000, value };
}
