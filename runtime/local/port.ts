import { createServer } from "node:net";

/** Ports of local machines: below the kernel's usual ephemeral ports, so no outgoing connection takes one by chance. */
export const MACHINE_PORTS = { first: 21000, last: 30999 } as const;

/**
 * Ports in the order in which a slot tries them: the one it had before, then from a place given by the slot's first
 * digits on, all around, so that two slots that start at once rarely want the same one.
 */
export function* portCandidates(slot: string, before?: number): Generator<number> {
  if (before !== undefined) yield before;
  const count = MACHINE_PORTS.last - MACHINE_PORTS.first + 1;
  const start = Number.parseInt(slot.slice(0, 8), 16) % count;
  for (let i = 0; i < count; i++) {
    const port = MACHINE_PORTS.first + ((start + i) % count);
    if (port !== before) yield port;
  }
}

/** Whether nobody listens on this port of 127.0.0.1 at this moment. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ host: "127.0.0.1", port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** A port of 127.0.0.1 that was free a moment ago, for a program that takes a number and no socket. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() =>
        address === null || typeof address === "string" ? reject(new Error("no port")) : resolve(address.port),
      );
    });
  });
}
