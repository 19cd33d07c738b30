import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { resolve } from "node:path";
import type { HostSpec } from "../spec/host-spec.ts";

type Source = HostSpec["secrets"][string]["source"];

/** A secret's value, or why it cannot be had here. Values are held in memory and nowhere else. */
export type Resolved = { ok: true; value: Buffer } | { ok: false; reason: string };

/**
 * Resolves a reference on this machine. Relative files, and commands, start from the project's folder. Never throws: what is missing may not be needed, since the
 * host keeps what it has.
 */
export async function resolveSecret(source: Source, project: string): Promise<Resolved> {
  const found = await read(source, project);
  if (!found.ok) return found;
  const end = found.value.at(-1) === 0x0a ? found.value.length - 1 : found.value.length;
  if (end === 0) return { ok: false, reason: `${describeSource(source)} is empty` };
  return { ok: true, value: found.value.subarray(0, end) };
}

async function read(source: Source, project: string): Promise<Resolved> {
  switch (source.kind) {
    case "env": {
      const value = process.env[source.variable];
      if (value === undefined) return { ok: false, reason: `environment variable ${source.variable} is not set` };
      return { ok: true, value: Buffer.from(value) };
    }
    case "file": {
      const path = resolve(project, source.path.replace(/^~(?=\/)/, homedir()));
      try {
        return { ok: true, value: await readFile(path) };
      } catch (error) {
        return { ok: false, reason: `file ${path} could not be read: ${(error as NodeJS.ErrnoException).code}` };
      }
    }
    case "command":
      return output(source.argv, project);
  }
}

/** What a reference refers to, for people: never a value. */
export function describeSource(source: Source): string {
  switch (source.kind) {
    case "env":
      return `environment variable ${source.variable}`;
    case "file":
      return `file ${source.path}`;
    case "command":
      return `command ${source.argv[0]}`;
  }
}

function output([program = "", ...args]: readonly string[], cwd: string): Promise<Resolved> {
  return new Promise((done) => {
    const child = spawn(program, args, { cwd, stdio: ["inherit", "pipe", "inherit"] }); // it may ask for a passphrase
    const chunks: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.on("error", (error) => done({ ok: false, reason: `command ${program} could not be run: ${error.message}` }));
    child.on("close", (code, signal) =>
      done(
        code === 0
          ? { ok: true, value: Buffer.concat(chunks) }
          : { ok: false, reason: `command ${program} ended with ${signal ?? `exit code ${code}`}` },
      ),
    );
  });
}
