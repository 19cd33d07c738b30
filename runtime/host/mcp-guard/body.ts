import type { IncomingMessage } from "node:http";

/** A request body read whole, or why not. `read` is the number of bytes that came. */
export type Body =
  | { readonly kind: "whole"; readonly text: string; readonly read: number }
  | { readonly kind: "too_large" | "client_gone"; readonly read: number };

/** Reads the body, at most `limit` bytes of it; what comes after that is read off and forgotten, so that the answer is read. */
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
    req.on("end", () => resolve({ kind: "whole", text: Buffer.concat(chunks, read).toString("utf8"), read }));
    req.on("error", () => resolve({ kind: "client_gone", read }));
    req.on("close", () => resolve({ kind: "client_gone", read }));
  });
}
