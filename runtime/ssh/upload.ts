import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { Connection } from "./connection.ts";
import { RemoteCommandError } from "./errors.ts";
import { shellQuote } from "./shell-quote.ts";
import { UPLOAD_SCRIPT } from "./upload-script.ts";

export interface UploadOptions {
  readonly connection: Connection;
  /** Digest of the component, 64 hex: the name it gets on the host. */
  readonly component: string;
  /** The archive as it was built: what arrives must be exactly this. */
  readonly archive: { readonly sha256: string; readonly bytes: number };
  /** The archive here: `tar.zst`. */
  readonly path: string;
  /** Told how many of the archive's bytes are on their way or there. */
  readonly progress?: (progress: { sent: number; total: number }) => void;
  readonly signal?: AbortSignal;
  /** Folder on the host; `/opt/bailiwick` by default. */
  readonly root?: string;
  /** Whether to run as root by `sudo -n`; true by default. */
  readonly sudo?: boolean;
}

export interface UploadResult {
  /** `present`: it was there already, nothing was sent. */
  readonly outcome: "uploaded" | "present";
  /** Bytes sent this time, with those that had to be sent again. */
  readonly sent: number;
  /** Bytes that an earlier, cut upload had brought. */
  readonly resumedAt: number;
}

const ATTEMPTS = 4;

/**
 * Brings a component to the host as `<root>/components/<component>`, all of it or nothing. An upload that was cut goes
 * on where it stopped; what arrived is believed only once the whole archive's sha256 is right, else it is sent once
 * again from the start. Unpacked, everything belongs to root and nothing is setuid.
 * @throws UnreachableError if the connection is lost: connect and call again, it resumes
 * @throws RemoteCommandError if the host cannot store or unpack it; nothing is left but the part
 * @throws Error if the local archive is not the one described; the host is then not touched
 */
export async function uploadComponent(options: UploadOptions): Promise<UploadResult> {
  const { connection, archive, path, progress, signal } = options;
  const run = (verb: "probe" | "receive", offset: number, stdin?: AsyncIterable<Uint8Array>) =>
    connection
      .exec(uploadCommand(options, verb, offset), {
        ...(stdin === undefined ? { timeoutMs: 60_000 } : { stdin }),
        ...(signal === undefined ? {} : { signal }),
      })
      .then((result) => {
        if (result.code !== 0) throw new RemoteCommandError(`upload of component ${options.component}`, result);
        return result.stdout.trim();
      });

  const local = checkLocal(path, archive);
  local.catch(() => {});
  let answer = await run("probe", 0);
  if (answer === "present") return { outcome: "present", sent: 0, resumedAt: 0 };
  await local;

  let sent = 0;
  let resumedAt = partLength(answer);
  let offset = resumedAt;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const tell = (length: number, at: number) => {
      sent += length;
      progress?.({ sent: at, total: archive.bytes });
    };
    answer = await run("receive", offset, readFrom(path, offset, archive.bytes, tell));
    if (answer === "present" || answer === "done")
      return { outcome: answer === "done" ? "uploaded" : "present", sent, resumedAt };
    if (answer !== "corrupt") {
      // the receiver of a connection that was cut a moment ago was still at work
      resumedAt = partLength(answer);
      offset = resumedAt;
    } else if (offset === 0)
      throw new Error(
        `upload of component ${options.component}: what arrived does not have sha256 ${archive.sha256}, although it was sent whole; the archive ${path} changed meanwhile, or the host's disk is faulty`,
      );
    else offset = 0;
  }
  throw new Error(
    `upload of component ${options.component}: somebody else is writing to its part on the host; try again`,
  );
}

function uploadCommand(options: UploadOptions, verb: "probe" | "receive", offset: number): string {
  const { component, archive, root = "/opt/bailiwick", sudo = true } = options;
  const hex = /^[0-9a-f]{64}$/;
  if (!hex.test(component)) throw new Error(`component: received ${JSON.stringify(component)}; expected 64 hex digits`);
  if (!hex.test(archive.sha256))
    throw new Error(`archive.sha256: received ${JSON.stringify(archive.sha256)}; expected 64 hex digits`);
  if (!Number.isSafeInteger(archive.bytes) || archive.bytes <= 0)
    throw new Error(`archive.bytes: received ${archive.bytes}; expected a length`);
  if (!/^(\/[A-Za-z0-9._-]+)+$/.test(root) || root.split("/").some((part) => /^\.{1,2}$/.test(part)))
    throw new Error(`root: received ${JSON.stringify(root)}; expected an absolute path`);
  const random = randomBytes(8).toString("hex");
  const words = [verb, root, component, archive.sha256, String(archive.bytes), String(offset), random];
  const shell = ["/bin/sh", "-c", UPLOAD_SCRIPT, "bailiwick-upload", ...words].map(shellQuote).join(" ");
  return sudo ? `sudo -n ${shell}` : shell;
}

function partLength(answer: string): number {
  const length = /^part (\d{1,15})$/.exec(answer)?.[1];
  if (length === undefined) throw new Error(`the host answered ${JSON.stringify(answer)} when asked for the part`);
  return Number(length);
}

async function checkLocal(path: string, archive: UploadOptions["archive"]): Promise<void> {
  const { size } = await stat(path);
  if (size !== archive.bytes) throw new Error(`${path} has ${size} bytes, expected ${archive.bytes}; build it again`);
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) hash.update(chunk as Buffer);
  const sha256 = hash.digest("hex");
  if (sha256 !== archive.sha256)
    throw new Error(`${path} has sha256 ${sha256}, expected ${archive.sha256}; build it again`);
}

async function* readFrom(
  path: string,
  offset: number,
  total: number,
  tell: (length: number, at: number) => void,
): AsyncGenerator<Uint8Array> {
  if (offset >= total) return;
  let at = offset;
  for await (const chunk of createReadStream(path, { start: offset, highWaterMark: 256 * 1024 })) {
    yield chunk as Buffer;
    at += (chunk as Buffer).length;
    tell((chunk as Buffer).length, at);
  }
}
