import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { Socket } from "node:net";
import { answer } from "./answer.ts";
import type { Guard } from "./guard.ts";
import { errorCode } from "./log.ts";

/** Bounds on what a connection may cost before a request is whole; a request on loopback needs none of this time. */
const HEADER_BYTES = 16 * 1024;
const HEADERS_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 15_000;
const CHECK_INTERVAL_MS = 1_000;
const KEEP_ALIVE_MS = 65_000;
const CONNECTIONS = 1024;

/** The guard's HTTP server, not yet listening. `drain` lets open calls end for at most `ms`, then cuts them. */
export function guardServer(guard: () => Guard): { http: Server; drain(ms: number): Promise<void> } {
  const connections = new Set<Socket>();
  const calls = new Set<Promise<void>>();
  const http = createServer(
    {
      insecureHTTPParser: false,
      maxHeaderSize: HEADER_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: CHECK_INTERVAL_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
    },
    (req, res) => {
      const call = answer(guard(), req, res);
      calls.add(call);
      void call.then(() => calls.delete(call));
    },
  );
  http.maxConnections = CONNECTIONS;
  http.on("connection", (socket) => {
    connections.add(socket);
    socket.once("close", () => connections.delete(socket));
  });
  // what is no HTTP, or too slow: a short answer, and the connection is closed
  http.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    const code = errorCode(error);
    if (code !== "ECONNRESET" && code !== "EPIPE") guard().log.warn({ error: code }, "connection refused");
    if (!socket.writable || socket.bytesWritten > 0) return socket.destroy();
    const status = code === "ERR_HTTP_REQUEST_TIMEOUT" ? "408 Request Timeout" : "400 Bad Request";
    socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
  });
  const drain = async (ms: number): Promise<void> => {
    const closed = once(http, "close");
    http.close();
    http.closeIdleConnections();
    const cut = setTimeout(() => {
      for (const socket of connections) socket.destroy();
    }, ms);
    await Promise.race([Promise.all(calls), closed]);
    for (const socket of connections) socket.destroySoon();
    await closed;
    clearTimeout(cut);
    await Promise.all(calls);
  };
  return { http, drain };
}
