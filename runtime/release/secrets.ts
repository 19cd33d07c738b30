import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import type { HostSpec } from "../spec/host-spec.ts";

type Source = HostSpec["secrets"][string]["source"];

/** A secret's value, or why it cannot be had here. Values are held in memory and nowhere else. */
export type Resolved = { ok: true; value: Buffer } | { ok: false; reason: string };

/** Resolves a reference on this machine. Never throws: what is missing may not be needed, since the host keeps what it has. */
export async function resolveSecret(source: Source): Promise<Resolved> {
  const found = await read(source);
  if (!found.ok) return found;
  const end = found.value.at(-1) === 0x0a ? found.value.length - 1 : found.value.length;
  if (end === 0) return { ok: false, reason: `${describeSource(source)} is empty` };
  return { ok: true, value: found.value.subarray(0, end) };
}

async function read(source: Source): Promise<Resolved> {
  switch (source.kind) {
    case "env": {
      const value = process.env[source.variable];
      if (value === undefined) return { ok: false, reason: `environment variable ${source.variable} is not set` };
      return { ok: true, value: Buffer.from(value) };
    }
    case "file": {
      const path = source.path.startsWith("~/") ? `${homedir()}${source.path.slice(1)}` : source.path;
      try {
        return { ok: true, value: await readFile(path) };
      } catch (error) {
        return { ok: false, reason: `file ${path} could not be read: ${(error as NodeJS.ErrnoException).code}` };
      }
    }
    case "command":
      return output(source.argv);
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

function output([program = "", ...args]: readonly string[]): Promise<Resolved> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ["inherit", "pipe", "inherit"] }); // it may ask for a passphrase
    const chunks: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.on("error", (error) =>
      resolve({ ok: false, reason: `command ${program} could not be run: ${error.message}` }),
    );
    child.on("close", (code) =>
      resolve(
        code === 0
          ? { ok: true, value: Buffer.concat(chunks) }
          : { ok: false, reason: `command ${program} ended with exit code ${code}` },
      ),
    );
  });
}
