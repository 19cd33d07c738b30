import { createServer, type Server } from "node:http";
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

/** The HTTP server of the gateway, not yet listening. */
export function gatewayServer(gateway: Gateway): Server {
  const server = createServer(
    {
      insecureHTTPParser: false,
      maxHeaderSize: HEADER_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: CHECK_INTERVAL_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
    },
    (req, res) => {
      void answer(gateway, req, res);
    },
  );
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => refuseConnection(gateway, error, socket));
  return server;
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
  // a response that is under way cannot be interrupted by another
  const busy = "_httpMessage" in socket && socket._httpMessage !== null;
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
