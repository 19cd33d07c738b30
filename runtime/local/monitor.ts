import { createConnection } from "node:net";

const LONGEST_MS = 5000;

/**
 * Press the power button of a virtual machine.
 * @param pid of a QEMU
 * @param monitor name of its monitor's socket in its working directory; by that the path is short enough for a socket
 * wherever the directory is
 * @returns whether QEMU took it; the guest itself may not be ready to hear it yet
 */
export function pressPowerButton(pid: number, monitor: string): Promise<boolean> {
  const commands = ["qmp_capabilities", "system_powerdown"];
  return new Promise((resolve) => {
    const socket = createConnection({ path: `/proc/${pid}/cwd/${monitor}` });
    const end = (done: boolean) => {
      socket.destroy();
      resolve(done);
    };
    socket.setTimeout(LONGEST_MS, () => end(false));
    socket.on("error", () => end(false));
    socket.on("close", () => end(false));
    let text = "";
    socket.setEncoding("utf8").on("data", (data: string) => {
      text += data;
      const lines = text.split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) {
        // a greeting, then one answer for each command; events in between are not for us
        const answer = JSON.parse(line) as Record<string, unknown>;
        if (answer.error !== undefined) return end(false);
        if (answer.QMP === undefined && answer.return === undefined) continue;
        const next = commands.shift();
        if (next === undefined) return end(true);
        socket.write(`${JSON.stringify({ execute: next })}\n`);
      }
    });
  });
}
