import { setTimeout as sleep } from "node:timers/promises";
import { Pool } from "undici";
import type { Program } from "./program.ts";

/** Where a request goes, and what makes it one. */
export interface Target {
  readonly program: Program;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** What one round of load has measured. */
export interface Round {
  readonly requests: number;
  /** Of the target's process, µs per request. */
  readonly cpuUs: number;
  /** Middle of all, ms: to the first byte of the body, and to its end. */
  readonly firstByteMs: number;
  readonly totalMs: number;
  /** Of the target's process at the end, with all connections open. */
  readonly residentMb: number;
}

const content = "a question of the usual length ".repeat(50);
const bodyOf = (stream: boolean) =>
  JSON.stringify({ model: "gpt-5.6", messages: [{ role: "user", content }], max_tokens: 100, stream });

/** Keeps `connections` requests under way for `seconds`. @throws at the first answer that is not what was asked for */
export async function load(target: Target, connections: number, stream: boolean, seconds: number): Promise<Round> {
  const { program, path, headers } = target;
  const pool = new Pool(`http://127.0.0.1:${program.port}`, { connections });
  const body = bodyOf(stream);
  const firstBytes: number[] = [];
  const totals: number[] = [];
  const one = async () => {
    const begun = performance.now();
    const answer = await pool.request({
      ...{ path, method: "POST" as const, body },
      headers: { "content-type": "application/json", ...headers },
    });
    let first = 0;
    let bytes = 0;
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      if (first === 0) first = performance.now();
      bytes += chunk.length;
    }
    if (answer.statusCode !== 200 || bytes < (stream ? 5000 : 400))
      throw new Error(`a target answered ${answer.statusCode} with ${bytes} bytes`);
    firstBytes.push(first - begun);
    totals.push(performance.now() - begun);
  };
  await one(); // warm
  firstBytes.length = 0;
  totals.length = 0;
  const before = program.cpuMs();
  const end = performance.now() + seconds * 1000;
  await Promise.all(
    Array.from({ length: connections }, async () => {
      while (performance.now() < end) await one();
    }),
  );
  const cpuUs = ((program.cpuMs() - before) * 1000) / totals.length;
  const residentMb = program.residentMb();
  await pool.close();
  await sleep(50);
  return { requests: totals.length, cpuUs, firstByteMs: middle(firstBytes), totalMs: middle(totals), residentMb };
}

function middle(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
