import type { AddressInfo } from "node:net";
import { connect as connectTcp, createServer, type Socket } from "node:net";

/** A line between client and server that can be held up and cut. */
export interface CuttingProxy {
  readonly port: number;
  /** Lets only this many more bytes through from the clients; the answer comes when they have passed. */
  holdAfter(bytes: number): Promise<void>;
  /** Cuts every connection, both ways. */
  cut(): void;
  stop(): Promise<void>;
}

export async function startCuttingProxy(target: number): Promise<CuttingProxy> {
  let left = Number.POSITIVE_INFINITY;
  let passedAll = () => {};
  const sockets = new Set<Socket>();
  const cut = () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    left = Number.POSITIVE_INFINITY;
  };
  const server = createServer((near) => {
    const far = connectTcp(target, "127.0.0.1");
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        near.destroy();
        far.destroy();
      });
    }
    far.pipe(near);
    near.on("data", (chunk: Buffer) => {
      const passed = chunk.subarray(0, Math.min(left, chunk.length));
      left -= passed.length;
      const room = far.write(passed);
      if (left === 0) {
        near.pause();
        passedAll();
      } else if (!room) {
        near.pause();
        far.once("drain", () => near.resume());
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    holdAfter: (bytes) => {
      left = bytes;
      return new Promise((passed) => {
        passedAll = passed;
      });
    },
    cut,
    stop: () => {
      cut();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
