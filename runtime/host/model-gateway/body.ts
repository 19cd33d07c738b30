import type { IncomingMessage } from "node:http";

/** A request body read whole, or why not. `read` is the number of bytes that came. */
export type Body =
  | { readonly kind: "whole"; readonly bytes: Buffer; readonly read: number }
  | { readonly kind: "too_large"; readonly read: number }
  | { readonly kind: "client_gone"; readonly read: number };

/** Reads the body, at most `limit` bytes of it. What comes after that is read off and forgotten, so that the client can read its answer. */
export function readBody(req: IncomingMessage, limit: number): Promise<Body> {
  if (Number(req.headers["content-length"] ?? 0) > limit) {
    req.resume();
    return Promise.resolve({ kind: "too_large", read: 0 });
  }
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let read = 0;
    req.on("data", (chunk: Buffer) => {
      read += chunk.length;
      if (read <= limit) chunks.push(chunk);
      else {
        chunks.length = 0;
        resolve({ kind: "too_large", read });
      }
    });
    req.on("end", () => resolve({ kind: "whole", bytes: Buffer.concat(chunks, read), read }));
    req.on("error", () => resolve({ kind: "client_gone", read }));
    req.on("close", () => resolve({ kind: "client_gone", read }));
  });
}
