import type { Readable } from "node:stream";
import type { ClientChannel } from "ssh2";
import { CommandTimeoutError, UnreachableError } from "./errors.ts";

export interface ExecOptions {
  /** What the command reads; nothing by default. Any length: only what the host has room for is read ahead. */
  readonly stdin?: string | Uint8Array | AsyncIterable<Uint8Array>;
  /** Given stdout as it comes, byte for byte; a promise holds the host back until it resolves. */
  readonly onStdout?: (chunk: Buffer) => void | Promise<void>;
  /** The same for stderr. */
  readonly onStderr?: (chunk: Buffer) => void | Promise<void>;
  /**
   * Longest time the command may take, milliseconds; no limit by default. Then its stdin is closed and it is sent
   * SIGTERM, which sshd does not pass on to a root session or through sudo: it may still be running on the host.
   */
  readonly timeoutMs?: number;
  /** Gives the command up, as after `timeoutMs`. */
  readonly signal?: AbortSignal;
}

/** How a command ended: one of the two is null (both, if the host did not say). `signal` is such as `KILL`. */
export interface CommandExit {
  readonly code: number | null;
  readonly signal: string | null;
}

export interface ExecResult extends CommandExit {
  /** UTF-8. With `onStdout`, only its last 64 KiB. */
  readonly stdout: string;
  readonly stderr: string;
}

const MAX_COLLECTED_BYTES = 64 * 1024 * 1024;
const TAIL_BYTES = 64 * 1024;
const WRITE_BYTES = 256 * 1024;

/** Calls back when the host says how a command ended, which may be before its output was read. */
export function onExit(channel: ClientChannel, listener: (exit: CommandExit) => void): void {
  channel.on("exit", (code: number | null, signal?: string) =>
    listener({ code, signal: signal?.replace(/^SIG/, "") ?? null }),
  );
}

/**
 * Feeds and reads a command until it has ended. `lost` resolves when the connection is gone. To be called in the turn in
 * which the command was started: how a quick one ended is read together with its start.
 */
export async function runCommand(
  channel: ClientChannel,
  lost: Promise<UnreachableError>,
  options: ExecOptions,
): Promise<ExecResult> {
  return await new Promise<ExecResult>((resolve, reject) => {
    const ended = new AbortController();
    let exit: CommandExit | undefined;
    let settled = false;
    const settle = (finish: () => void) => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", onAbort);
      ended.abort();
      finish();
    };
    const giveUp = (error: unknown) => {
      settle(() => {
        try {
          channel.signal("TERM");
          channel.close();
        } catch {
          // the connection is gone, and the command's stdin with it
        }
        reject(error);
      });
    };
    const onAbort = () => giveUp(options.signal?.reason);
    const timer =
      options.timeoutMs === undefined
        ? undefined
        : setTimeout(
            () => giveUp(new CommandTimeoutError(`the command did not end within ${options.timeoutMs} ms`)),
            options.timeoutMs,
          );
    options.signal?.addEventListener("abort", onAbort);
    if (options.signal?.aborted) return onAbort();

    const stdout = collect(channel, options.onStdout, giveUp);
    const stderr = collect(channel.stderr, options.onStderr, giveUp);
    channel.on("error", giveUp);
    void lost.then(giveUp);
    onExit(channel, (value) => {
      exit = value;
    });
    channel.on("close", () => {
      // the callbacks' promises and the last of stderr may still be on their way
      void Promise.all([stdout, stderr]).then(([out, err]) => {
        if (exit === undefined)
          // a lost connection closes its channels before it says so itself
          setImmediate(() => giveUp(new UnreachableError("the host ended the command without saying how")));
        else {
          const { code, signal } = exit;
          settle(() => resolve({ code, signal, stdout: out(), stderr: err() }));
        }
      }, giveUp);
    });
    feed(channel, options.stdin, ended.signal).catch(giveUp);
  });
}

/** Reads a stream to its end; the promise gives a function for its text, so that it is decoded only when wanted. */
function collect(
  stream: Readable,
  onChunk: ((chunk: Buffer) => void | Promise<void>) | undefined,
  giveUp: (error: unknown) => void,
): Promise<() => string> {
  const chunks: Buffer[] = [];
  let size = 0;
  let delivery: Promise<void> = Promise.resolve();
  stream.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    size += chunk.length;
    if (onChunk === undefined) {
      if (size > MAX_COLLECTED_BYTES) giveUp(new Error(`the command wrote more than ${MAX_COLLECTED_BYTES} bytes`));
      return;
    }
    while (size - (chunks[0]?.length ?? 0) >= TAIL_BYTES) size -= chunks.shift()?.length ?? 0;
    try {
      const pending = onChunk(chunk);
      if (pending === undefined) return;
      stream.pause();
      delivery = pending.then(() => {
        stream.resume();
      });
      delivery.catch(giveUp);
    } catch (error) {
      giveUp(error);
    }
  });
  return new Promise((resolve, reject) => {
    stream.once("end", () => {
      delivery.then(() => resolve(() => tail(Buffer.concat(chunks), onChunk === undefined)), reject);
    });
  });
}

function tail(bytes: Buffer, whole: boolean): string {
  return (whole ? bytes : bytes.subarray(-TAIL_BYTES)).toString("utf8");
}

async function feed(channel: ClientChannel, stdin: ExecOptions["stdin"], ended: AbortSignal): Promise<void> {
  if (stdin === undefined) {
    channel.end();
    return;
  }
  const source = (typeof stdin === "string" || stdin instanceof Uint8Array ? slices(stdin) : stdin)[
    Symbol.asyncIterator
  ]();
  const stop = new Promise<"stop">((resolve) => {
    ended.addEventListener("abort", () => resolve("stop"));
    channel.once("close", () => resolve("stop"));
  });
  try {
    while (!ended.aborted) {
      const next = await Promise.race([source.next(), stop]);
      if (next === "stop" || !channel.writable) return;
      if (next.done) {
        channel.end();
        return;
      }
      if (!channel.write(next.value)) await Promise.race([new Promise((go) => channel.once("drain", go)), stop]);
    }
  } finally {
    // not awaited: a source that never gives its next chunk must not hold the command's result
    source.return?.()?.then(undefined, () => {});
  }
}

async function* slices(value: string | Uint8Array): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(value as Uint8Array);
  for (let at = 0; at < bytes.length; at += WRITE_BYTES) yield bytes.subarray(at, at + WRITE_BYTES);
}
