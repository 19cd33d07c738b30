import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";

/** How a program that prints a secret ended. Its output is nowhere but in here. */
export type Ended =
  | { readonly how: "exited"; readonly code: number; readonly stdout: Buffer; readonly stderr: string }
  | { readonly how: "killed"; readonly signal: string }
  | { readonly how: "not-started"; readonly errno: string }
  | { readonly how: "timed-out"; readonly seconds: number };

export interface ProgramOptions {
  readonly cwd: string;
  /** Whether it may talk with the person at the terminal, for a passphrase; else what it says on stderr is kept. */
  readonly interactive: boolean;
  /** How long it may take, a person's answer included. */
  readonly seconds: number;
}

/** Runs a program without a shell, with this process' environment, for what it prints. Never throws. */
export async function runForOutput(
  [program = "", ...args]: readonly string[],
  { cwd, interactive, seconds }: ProgramOptions,
): Promise<Ended> {
  // in this process' own group: a terminal is not read by another
  const child = spawn(program, args, {
    cwd,
    stdio: interactive ? ["inherit", "pipe", "inherit"] : ["ignore", "pipe", "pipe"],
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr?.on("data", (chunk: Buffer) => stderr.push(chunk));
  const late = new AbortController();
  const ended = new Promise<Ended>((done) => {
    child.on("error", (error: NodeJS.ErrnoException) => done({ how: "not-started", errno: error.code ?? "unknown" }));
    child.on("close", (code, signal) =>
      done(
        code === null
          ? { how: "killed", signal: signal ?? "unknown" }
          : { how: "exited", code, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() },
      ),
    );
  });
  const tooLate = sleep(seconds * 1000, undefined, { signal: late.signal }).then(
    (): Ended => {
      child.kill("SIGKILL");
      // what it started may hold these open for ever
      child.stdout?.destroy();
      child.stderr?.destroy();
      child.unref();
      return { how: "timed-out", seconds };
    },
    () => ended,
  );
  const first = await Promise.race([ended, tooLate]);
  late.abort();
  return first;
}
