import { connect } from "node:net";
import { errorCode } from "./log.ts";
import type { Listener, Transport } from "./transport.ts";

const NEWLINE = 0x0a;

/**
 * A stdio server behind a unix socket: systemd starts one process of it for each connection. Messages are lines; one that
 * is longer than `limit` bytes, or no JSON, ends the connection.
 */
export function unixTransport(path: string, limit: number, listener: Listener): Transport {
  const socket = connect(path);
  let pieces: Buffer[] = [];
  let held = 0;
  let open = true;
  const end = (reason: string) => {
    if (!open) return;
    open = false;
    pieces = [];
    socket.destroy();
    listener.closed(reason);
  };
  const line = (bytes: Buffer) => {
    if (bytes.length === 0) return;
    let value: unknown;
    try {
      value = JSON.parse(bytes.toString("utf8"));
    } catch {
      end("not JSON");
      return;
    }
    listener.message(value);
  };
  socket.on("data", (chunk: Buffer) => {
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at >= 0 && open; at = chunk.indexOf(NEWLINE, from)) {
      const whole = Buffer.concat([...pieces, chunk.subarray(from, at)]);
      pieces = [];
      held = 0;
      from = at + 1;
      if (whole.length > limit) return end("message too large");
      line(whole);
    }
    if (!open || from === chunk.length) return;
    pieces.push(chunk.subarray(from));
    held += chunk.length - from;
    if (held > limit) end("message too large");
  });
  socket.on("end", () => end("the server ended"));
  socket.on("error", (error) => end(errorCode(error)));
  socket.on("close", () => end("closed"));
  return {
    send: (message) => {
      if (open) socket.write(`${JSON.stringify(message)}\n`);
    },
    close: () => end("closed here"),
  };
}
