import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { answer, type Gateway } from "./call.ts";
import { errorCode } from "./log.ts";

/** Bounds on what a connection may cost before a request is whole; a request on loopback needs none of this time. */
const HEADER_BYTES = 16 * 1024;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
const CHECK_INTERVAL_MS = 1_000;
/** Longer than clients keep idle connections, so that they close first and no request meets a closing one. */
const KEEP_ALIVE_MS = 65_000;
const RELEASE_INTERVAL_MS = 100;

/** The gateway's HTTP server, and how it stops. */
export interface GatewayServer {
  readonly http: Server;
  /**
   * Takes no further connection and resolves when all calls have ended and written their lines: by themselves, or cut
   * after `ms`. Connections on which no call is open are closed at once.
   */
  drain(ms: number): Promise<void>;
}

/** The HTTP server of the gateway, not yet listening. */
export function gatewayServer(gateway: Gateway): GatewayServer {
  const calls = new Map<Promise<void>, Socket>();
  const connections = new Set<Socket>();
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
      const call = answer(gateway, req, res);
      calls.set(call, req.socket);
      void call.then(() => calls.delete(call));
    },
  );
  http.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => refuseConnection(gateway, error, socket));
  http.on("connection", (socket) => {
    connections.add(socket);
    socket.once("close", () => connections.delete(socket));
  });

  const drain = async (ms: number): Promise<void> => {
    const closed = once(http, "close");
    http.close();
    // Node's closeIdleConnections() leaves those open that have not yet sent a request
    const release = setInterval(() => {
      const busy = new Set(calls.values());
      for (const socket of connections) if (!busy.has(socket)) socket.destroySoon();
    }, RELEASE_INTERVAL_MS);
    const cut = setTimeout(() => {
      gateway.stopping = true;
      for (const socket of connections) socket.destroy();
    }, ms);
    await closed;
    clearInterval(release);
    clearTimeout(cut);
    await Promise.all(calls.keys());
  };
  return { http, drain };
}

const STATUS: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: "431 Request Header Fields Too Large",
  ERR_HTTP_REQUEST_TIMEOUT: "408 Request Timeout",
};

/** What the parser does not take for HTTP gets a short answer, and the connection is closed: what follows cannot be trusted. */
function refuseConnection(gateway: Gateway, error: NodeJS.ErrnoException, socket: Socket): void {
  const code = errorCode(error);
  if (code !== "ECONNRESET" && code !== "EPIPE")
    gateway.log.warn({ outcome: "refused", reason: "malformed_request", error: code }, "connection");
  // a response that has begun cannot be interrupted by another; Node keeps the current one at the socket
  const busy = (socket as Socket & { _httpMessage?: ServerResponse | null })._httpMessage?.headersSent === true;
  if (!socket.writable || code === "ECONNRESET" || busy) {
    socket.destroy();
    return;
  }
  const body =
    '{"error":{"message":"bailiwick gateway: the request is not well-formed HTTP","type":"invalid_request_error","param":null,"code":"malformed_request"}}';
  socket.end(
    `HTTP/1.1 ${STATUS[code] ?? "400 Bad Request"}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
}
