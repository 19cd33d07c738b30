import { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { UnreachableError } from "./errors.ts";

/**
 * Waits until something at the address starts to speak SSH, and gives its identification line. It reads that line and
 * hangs up: sshd's penalties for connections that offer no credential are not run up while waiting.
 * @throws UnreachableError after `timeoutMs`, with what the last attempt met; `signal.reason` if aborted
 */
export async function waitForSshBanner(options: {
  host: string;
  port?: number;
  timeoutMs: number;
  signal?: AbortSignal;
}): Promise<string> {
  const { host, port = 22, timeoutMs, signal } = options;
  const deadline = Date.now() + timeoutMs;
  let last = "no attempt was made";
  let patienceMs = 3000;
  for (let pause = 100; ; pause = Math.min(pause * 2, 1000)) {
    signal?.throwIfAborted();
    const left = deadline - Date.now();
    if (left <= 0) throw new UnreachableError(`${host}:${port} did not speak SSH within ${timeoutMs} ms: ${last}`);
    const answer = await firstLine(host, port, Math.min(left, patienceMs));
    if (answer.line !== undefined) return answer.line;
    last = answer.problem;
    // a server that is short of processors is slow to speak, and shuts out who hangs up on it too often
    if (answer.problem === SILENT) patienceMs = Math.min(patienceMs * 2, 15_000);
    await sleep(Math.max(0, Math.min(pause, deadline - Date.now())), undefined, signal === undefined ? {} : { signal });
  }
}

const SILENT = "it accepted and said nothing";

function firstLine(
  host: string,
  port: number,
  timeoutMs: number,
): Promise<{ line: string } | { line?: never; problem: string }> {
  return new Promise((resolve) => {
    const socket = new Socket();
    let text = "";
    const done = (answer: { line: string } | { line?: never; problem: string }) => {
      clearTimeout(timer);
      socket.removeAllListeners();
      socket.on("error", () => {});
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(() => done({ problem: socket.connecting ? "it did not accept" : SILENT }), timeoutMs);
    socket.on("error", (error) => done({ problem: error.message }));
    socket.on("close", () => done({ problem: `it hung up after ${JSON.stringify(text.slice(0, 80))}` }));
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      const line = /^(SSH-[ -~]*)\r?\n/.exec(text)?.[1];
      if (line !== undefined) done({ line });
      else if (text.length > 255) done({ problem: `it said ${JSON.stringify(text.slice(0, 80))}` });
    });
    socket.connect({ host, port });
  });
}
