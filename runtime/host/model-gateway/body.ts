import type { IncomingMessage } from "node:http";

/** A request body read whole, or why not. `read` is the number of bytes that came. */
export type Body =
  | { readonly kind: "whole"; readonly bytes: Buffer; readonly read: number }
  | { readonly kind: "too_large"; readonly read: number }
  | { readonly kind: "no_room"; readonly read: number }
  | { readonly kind: "client_gone"; readonly read: number };

/** Bytes of bodies that one call holds. */
export interface Held {
  /** Whether there is room for so many bytes more; then they count as held until `release`. */
  take(bytes: number): boolean;
  release(): void;
}

/**
 * Bounds what the bodies of all calls hold together, from their first byte to the end of their call: a body is kept for
 * another try, and many calls at once would otherwise be more than the process may have. One agent has at most half.
 */
export class Bodies {
  #all = 0;
  readonly #byAgent = new Map<string, number>();

  /** What a call of the agent holds; nothing yet. @param limit bytes, of all agents */
  holdFor(agent: string, limit: number): Held {
    let own = 0;
    const add = (bytes: number) => {
      own += bytes;
      this.#all += bytes;
      const sum = (this.#byAgent.get(agent) ?? 0) + bytes;
      if (sum === 0) this.#byAgent.delete(agent);
      else this.#byAgent.set(agent, sum);
    };
    return {
      take: (bytes) => {
        if (this.#all + bytes > limit || (this.#byAgent.get(agent) ?? 0) + bytes > limit / 2) return false;
        add(bytes);
        return true;
      },
      release: () => add(-own),
    };
  }
}

/**
 * Reads the body, at most `limit` bytes of it, and no more than there is room for. What comes after that is read off and
 * forgotten, so that the client can read its answer.
 */
export function readBody(req: IncomingMessage, limit: number, held: Held): Promise<Body> {
  if (Number(req.headers["content-length"] ?? 0) > limit) {
    req.resume();
    return Promise.resolve({ kind: "too_large", read: 0 });
  }
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let read = 0;
    let refused = false;
    const refuse = (kind: "too_large" | "no_room") => {
      refused = true;
      chunks.length = 0;
      held.release();
      resolve({ kind, read });
    };
    req.on("data", (chunk: Buffer) => {
      read += chunk.length;
      if (refused) return;
      if (read > limit) refuse("too_large");
      else if (held.take(chunk.length)) chunks.push(chunk);
      else refuse("no_room");
    });
    req.on("end", () => {
      if (!refused) resolve({ kind: "whole", bytes: Buffer.concat(chunks, read), read });
    });
    req.on("error", () => resolve({ kind: "client_gone", read }));
    req.on("close", () => resolve({ kind: "client_gone", read }));
  });
}
