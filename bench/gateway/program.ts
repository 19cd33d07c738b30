import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";

/** A server of the benchmark in a process of its own. */
export interface Program {
  readonly port: number;
  /** From its start until it listened, ms. */
  readonly readyMs: number;
  /** Processor time so far, ms. */
  cpuMs(): number;
  residentMb(): number;
  stop(): Promise<void>;
}

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** The slowest of them, a peer in Python, needs ten seconds. */
const START_MS = 120_000;

/** Linux counts processor time in hundredths of a second. */
const TICK_MS = 10;

/**
 * Starts a server and waits until it says where it listens.
 * @param listens finds the port in what it has printed; undefined while it is not there
 */
export async function start(
  argv: readonly string[],
  options: { env?: Record<string, string>; listens?: (output: string) => number | undefined } = {},
): Promise<Program> {
  const [program = "", ...args] = argv;
  const started = performance.now();
  const child = spawn(program, args, { env: { ...options.env }, stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  let output = "";
  let found: (port: number) => void = () => {};
  let clock: NodeJS.Timeout | undefined;
  const port = await new Promise<number>((resolve, reject) => {
    clock = setTimeout(() => {
      child.removeAllListeners("exit");
      child.kill("SIGKILL");
      reject(new Error(`${argv.join(" ")} did not say where it listens: ${output.slice(-2000)}`));
    }, START_MS);
    found = resolve;
    const listens = options.listens ?? portLine;
    let known = false;
    const read = (chunk: Buffer) => {
      // afterwards it is read off: a program whose output nobody reads would stand still
      if (known) return;
      output += chunk;
      const at = listens(output);
      if (at === undefined) return;
      known = true;
      found(at);
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.on("exit", (code) => reject(new Error(`${argv.join(" ")} ended with ${code}: ${output.slice(-2000)}`)));
  });
  clearTimeout(clock);
  const readyMs = performance.now() - started;
  const file = (name: string) => readFileSync(`/proc/${child.pid}/${name}`, "utf8");
  return {
    port,
    readyMs,
    cpuMs: () => {
      const fields = file("stat")
        .replace(/^.*\) /, "")
        .split(" ");
      return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
    },
    residentMb: () => Number(/VmRSS:\s+(\d+)/.exec(file("status"))?.[1]) / 1024,
    stop: () =>
      new Promise((resolve) => {
        child.removeAllListeners("exit");
        child.on("exit", () => {
          running.delete(child);
          resolve();
        });
        child.kill("SIGKILL");
      }),
  };
}

function portLine(output: string): number | undefined {
  const port = /"port":(\d+)/.exec(output)?.[1];
  return port === undefined ? undefined : Number(port);
}
