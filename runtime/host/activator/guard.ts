import { connect } from "node:net";
import { GuardAnswer, type GuardRequest } from "../../spec/guard-admin.ts";

/** Socket of the guard that is root's alone; systemd makes it. */
const SOCKET = "/run/bailiwick-guard/admin.sock";
const TIMEOUT_MS = 90_000;

/**
 * Asks the MCP guard as root.
 * @throws if this host has no guard, or it does not answer
 */
export function askGuard(request: GuardRequest): Promise<GuardAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect(SOCKET);
    const pieces: Buffer[] = [];
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
    socket.on("connect", () => socket.write(`${JSON.stringify(request)}\n`));
    socket.on("data", (piece: Buffer) => pieces.push(piece));
    socket.on("error", (error: NodeJS.ErrnoException) =>
      reject(
        new Error(
          error.code === "ENOENT"
            ? "this host has no MCP guard: its release has no MCP server"
            : `the MCP guard did not answer: ${error.message}`,
        ),
      ),
    );
    socket.on("end", () => {
      try {
        resolve(GuardAnswer.parse(JSON.parse(Buffer.concat(pieces).toString("utf8"))));
      } catch {
        reject(new Error("the MCP guard's answer is not in this kit's format"));
      }
    });
  });
}
