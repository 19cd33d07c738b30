import { createConnection } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** Whether an SSH server answers on this port of 127.0.0.1 with its `SSH-` line. A forward accepts before sshd runs. */
export function sshAnswers(port: number, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    let text = "";
    const socket = createConnection({ host: "127.0.0.1", port });
    const end = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(timeoutMs, () => end(false));
    socket.on("error", () => end(false));
    socket.on("close", () => end(false));
    socket.setEncoding("latin1").on("data", (data: string) => {
      text += data;
      if (text.length >= 4) end(text.startsWith("SSH-"));
    });
  });
}

/**
 * Wait until an SSH server answers.
 * @returns false when `deadline` (milliseconds as of Date.now) has passed, or as soon as `alive` says no
 */
export async function waitForSsh(port: number, deadline: number, alive: () => boolean): Promise<boolean> {
  let patienceMs = 2000;
  while (Date.now() < deadline) {
    const started = Date.now();
    if (await sshAnswers(port, Math.min(patienceMs, Math.max(1, deadline - started)))) return true;
    if (!alive()) return false;
    // A server that is short of processors takes its time, and counts who hangs up on it: after some fifteen it shuts us out.
    if (Date.now() - started >= patienceMs) patienceMs = Math.min(patienceMs * 2, 15_000);
    await sleep(100);
  }
  return false;
}
