import { spawn } from "node:child_process";

export interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a program without a shell; stdin is the given bytes or empty. Never throws for an exit code. */
export function tryRun(program: string, args: readonly string[], stdin?: string | Uint8Array): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
    child.on("error", (error) => reject(new Error(`${program} could not be run: ${error.message}`)));
    child.on("close", (code) =>
      resolve({ code: code ?? 255, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }),
    );
    child.stdin.on("error", () => {}); // a program that ends before reading all says so by its exit code
    child.stdin.end(stdin);
  });
}

/**
 * Runs a program that must succeed; answers its stdout.
 * @throws with the program, its exit code and the end of its stderr
 */
export async function run(program: string, args: readonly string[], stdin?: string | Uint8Array): Promise<string> {
  const ran = await tryRun(program, args, stdin);
  if (ran.code !== 0)
    throw new Error(`${program} ${args.join(" ")}: exit ${ran.code}: ${(ran.stderr || ran.stdout).trim().slice(-800)}`);
  return ran.stdout;
}
