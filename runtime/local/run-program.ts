import { spawn } from "node:child_process";

/** Variables of the operator's environment that a program may see: never anything that could hold a secret. */
const PASSED = ["PATH", "HOME", "LANG", "TMPDIR", "http_proxy", "https_proxy", "no_proxy"];
const SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** A small environment for programs of the operator's machine, whose lives may be long. */
export function cleanEnvironment(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  const env: Record<string, string> = {};
  for (const name of PASSED) {
    const value = process.env[name];
    if (value !== undefined) env[name] = value;
  }
  env.PATH = env.PATH === undefined ? SYSTEM_PATH : `${env.PATH}:${SYSTEM_PATH}`;
  return { ...env, LC_ALL: "C.UTF-8", ...extra };
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Given to the program's stdin; default: an empty stdin. */
  readonly input?: string;
  /** Called for each line of stdout and stderr. */
  readonly onLine?: (line: string) => void;
}

/**
 * Run a program to its end and give back its stdout.
 * @throws if it cannot be started or ends with another status than 0: the program, its status, its last lines of stderr
 */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: cleanEnvironment(options.env), stdio: ["pipe", "pipe", "pipe"] });
    const shown = [program, ...args].join(" ");
    let stdout = "";
    let stderr = "";
    const lines = lineSplitter(options.onLine);
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      lines(text);
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
      lines(text);
    });
    child.on("error", (error: NodeJS.ErrnoException) =>
      reject(
        new Error(error.code === "ENOENT" ? `${program}: not installed on this machine` : `${shown}: ${error.message}`),
      ),
    );
    child.on("close", (status, signal) => {
      lines("\n");
      if (status === 0) return resolve(stdout);
      const last = stderr.trim().split("\n").slice(-5).join("\n");
      reject(new Error(`${shown} ended with ${signal ?? `status ${status}`}${last === "" ? "" : `:\n${last}`}`));
    });
    child.stdin.on("error", () => undefined); // a program that ends without reading says why by its status
    child.stdin.end(options.input ?? "");
  });
}

function lineSplitter(onLine?: (line: string) => void): (text: string) => void {
  let rest = "";
  return (text) => {
    const parts = (rest + text).split(/[\r\n]+/);
    rest = parts.pop() ?? "";
    if (onLine !== undefined) for (const part of parts) if (part.trim() !== "") onLine(part);
  };
}
