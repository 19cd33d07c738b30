import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";

interface Figure {
  /** Middle of all that were measured; of an even number the lower one. */
  readonly value: number;
  readonly unit: string;
  readonly n: number;
  readonly min: number;
  readonly max: number;
}

interface Ratio {
  readonly value: number;
  readonly op: "<=" | ">=";
  readonly aim: number;
  readonly unit: string;
  readonly holds: boolean;
}

/** What one run of a benchmark has measured. A missed aim is reported, and fails nothing. */
export class Results {
  readonly #benchmark: string;
  readonly #figures: Record<string, Figure> = {};
  readonly #ratios: Record<string, Ratio> = {};
  readonly #notes: Record<string, string> = {};

  constructor(benchmark: string) {
    this.#benchmark = benchmark;
  }

  /** @returns the middle of the values */
  figure(name: string, values: readonly number[], unit: string): number {
    const sorted = [...values].sort((a, b) => a - b);
    const value = sorted[Math.floor((sorted.length - 1) / 2)];
    if (value === undefined) throw new Error(`figure ${name}: nothing was measured`);
    const [min = value, max = value] = [sorted[0], sorted.at(-1)];
    this.#figures[name] = { value: short(value), unit, n: sorted.length, min: short(min), max: short(max) };
    return value;
  }

  /** A value that an aim is set for, at most or at least. */
  ratio(key: string, value: number, op: "<=" | ">=", aim: number, unit: string): void {
    this.#ratios[key] = { value: short(value), op, aim, unit, holds: op === "<=" ? value <= aim : value >= aim };
  }

  /** What a reader must know of how something was measured. */
  note(about: string, text: string): void {
    this.#notes[about] = text;
  }

  /** Writes `bench/results/<benchmark>.json` and prints it as a table. */
  write(): void {
    const folder = join(import.meta.dirname, "results");
    mkdirSync(folder, { recursive: true });
    const path = join(folder, `${this.#benchmark}.json`);
    const document = {
      benchmark: this.#benchmark,
      commit: execFileSync("git", ["rev-parse", "HEAD"], { encoding: "utf8" }).trim(),
      machine: {
        cpus: cpus().length,
        model: cpus()[0]?.model ?? "unknown",
        memoryGiB: Math.round(totalmem() / 2 ** 30),
        kernel: release(),
        node: process.version,
      },
      at: new Date().toISOString(),
      ratios: this.#ratios,
      figures: this.#figures,
      notes: this.#notes,
    };
    writeFileSync(path, `${JSON.stringify(document, null, 2)}\n`);
    const row = (name: string, value: number, unit: string, rest: string) =>
      console.log(`${name.padEnd(30)} ${String(value).padStart(9)} ${unit.padEnd(5)} ${rest}`);
    for (const [key, { value, op, aim, unit, holds }] of Object.entries(this.#ratios))
      row(key, value, unit, `aim ${op} ${aim}: ${holds ? "holds" : "missed"}`);
    for (const [name, { value, unit, n, min, max }] of Object.entries(this.#figures))
      row(name, value, unit, n === 1 ? "" : `${min} to ${max}, of ${n}`);
    console.log(`written: ${path}`);
  }
}

function short(value: number): number {
  return Number(value.toPrecision(4));
}

/** Seconds that the work took, and what it gave. */
export async function timed<T>(work: () => Promise<T>): Promise<{ seconds: number; value: T }> {
  const start = performance.now();
  const value = await work();
  return { seconds: (performance.now() - start) / 1000, value };
}
