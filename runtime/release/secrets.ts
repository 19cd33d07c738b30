import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { resolve } from "node:path";
import type { SecretSource } from "../policy/secrets/schema.ts";
import { type Ended, runForOutput } from "./secret-program.ts";
import { NoValueError, type SecretTool, secretTool } from "./secret-tools.ts";

/** A secret's value, or why it cannot be had here and, where there is more to say than that, what to do. Values are held in memory and nowhere else. */
export type Resolved = { ok: true; value: Buffer } | { ok: false; reason: string; remedy?: string };

/** How long a program may take, a person who is asked for a passphrase included. */
const SECONDS = 120;

/**
 * Resolves a reference on this machine. Relative files, and programs, start from the project's folder. One newline at the
 * end of a value is dropped. Never throws: what is missing may not be needed, since the host keeps what it has.
 * @param seconds how long a program may take
 */
export async function resolveSecret(source: SecretSource, project: string, seconds = SECONDS): Promise<Resolved> {
  const found = await read(source, project, seconds);
  if (!found.ok) return found;
  const end = found.value.at(-1) === 0x0a ? found.value.length - 1 : found.value.length;
  if (end === 0) return { ok: false, reason: `${describeSource(source)} is empty` };
  return { ok: true, value: found.value.subarray(0, end) };
}

async function read(source: SecretSource, project: string, seconds: number): Promise<Resolved> {
  switch (source.kind) {
    case "env": {
      const value = process.env[source.variable];
      if (value === undefined) return { ok: false, reason: `environment variable ${source.variable} is not set` };
      return { ok: true, value: Buffer.from(value) };
    }
    case "file":
      return contents(inProject(source.path, project));
    case "command": {
      const [program] = source.argv;
      const ended = await runForOutput(source.argv, { cwd: project, interactive: true, seconds });
      if (ended.how === "exited" && ended.code === 0) return { ok: true, value: ended.stdout };
      return { ok: false, reason: `command ${program} ${howItEnded(ended)}` };
    }
    default: {
      // a file that is not there is said as one, whatever the program makes of it
      if (source.kind === "sops") {
        const there = await contents(inProject(source.path, project));
        if (!there.ok) return there;
      }
      const tool = secretTool(source, (path) => inProject(path, project));
      return ask(tool, describeSource(source), project, seconds);
    }
  }
}

async function ask(tool: SecretTool, what: string, project: string, seconds: number): Promise<Resolved> {
  const { program } = tool;
  const ended = await runForOutput([program, ...tool.args], { cwd: project, interactive: false, seconds });
  const no = (reason: string, remedy: string): Resolved => ({ ok: false, reason: `${what}: ${reason}`, remedy });
  if (ended.how === "not-started" && ended.errno === "ENOENT")
    return no(`program ${program} is not on the PATH here`, tool.install);
  if (ended.how !== "exited" || ended.code !== 0) {
    const said = ended.how === "exited" ? ended.stderr : "";
    const known = tool.refusals.find((refusal) => refusal.said.test(said));
    if (known !== undefined) return no(known.means, known.remedy);
    const last = said.trim().split("\n").at(-1)?.trim().slice(0, 300);
    return no(`${program} ${howItEnded(ended)}${last ? `: ${last}` : ""}`, `try the same with \`${program}\` by hand`);
  }
  try {
    return { ok: true, value: tool.value(ended.stdout) };
  } catch (error) {
    if (error instanceof NoValueError) return no(error.message, error.remedy);
    throw error;
  }
}

function howItEnded(ended: Ended): string {
  switch (ended.how) {
    case "exited":
      return `ended with exit code ${ended.code}`;
    case "killed":
      return `ended with ${ended.signal}`;
    case "not-started":
      return `could not be run: ${ended.errno}`;
    case "timed-out":
      return `gave nothing within ${ended.seconds} s and was stopped`;
  }
}

async function contents(path: string): Promise<Resolved> {
  try {
    return { ok: true, value: await readFile(path) };
  } catch (error) {
    return { ok: false, reason: `file ${path} could not be read: ${(error as NodeJS.ErrnoException).code}` };
  }
}

function inProject(path: string, project: string): string {
  return resolve(project, path.replace(/^~(?=\/)/, homedir()));
}

/** What a reference refers to, for people: never a value. */
export function describeSource(source: SecretSource): string {
  switch (source.kind) {
    case "env":
      return `environment variable ${source.variable}`;
    case "file":
      return `file ${source.path}`;
    case "command":
      return `command ${source.argv[0]}`;
    case "sops":
      return `${source.key.join(".")} of sops file ${source.path}`;
    case "op":
      return `1Password ${source.reference}`;
    case "ssm":
      return `SSM parameter ${source.name}${region(source)}`;
    case "secretsmanager": {
      const field = source.field === undefined ? "" : `${source.field} of `;
      return `${field}Secrets Manager secret ${source.id}${region(source)}`;
    }
  }
}

function region(source: { region?: string | undefined }): string {
  return source.region === undefined ? "" : ` in ${source.region}`;
}
