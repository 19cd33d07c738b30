import { createServer, type Server, type Socket } from "node:net";
import { type GuardAnswer, GuardRequest } from "../../spec/guard-admin.ts";
import type { Guard } from "./guard.ts";

const LINE_BYTES = 4096;
const LINE_MS = 5_000;

/** What root asks: one line in, one line out. The socket itself is root's alone; systemd makes it and hands it over. */
export function adminServer(guard: Guard): Server {
  const server = createServer((socket) => {
    let text = "";
    socket.setTimeout(LINE_MS, () => socket.destroy());
    socket.on("error", () => socket.destroy());
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      if (text.length > LINE_BYTES) socket.destroy();
      else if (text.includes("\n")) {
        socket.removeAllListeners("data");
        socket.setTimeout(0);
        void reply(guard, socket, text.slice(0, text.indexOf("\n")));
      }
    });
  });
  server.maxConnections = 16;
  return server;
}

async function reply(guard: Guard, socket: Socket, line: string): Promise<void> {
  let answer: GuardAnswer;
  try {
    answer = await carryOut(guard, GuardRequest.parse(JSON.parse(line)));
  } catch (error) {
    answer = { error: error instanceof Error ? error.message.slice(0, 2000) : "an error of the guard's own" };
  }
  socket.end(`${JSON.stringify(answer)}\n`);
}

async function carryOut(guard: Guard, request: GuardRequest): Promise<GuardAnswer> {
  switch (request.do) {
    case "tools": {
      const server = guard.servers.get(request.server);
      if (server === undefined)
        return {
          error: `received server "${request.server}"; the guard knows ${[...guard.servers.keys()].join(", ") || "none"}`,
        };
      const backend = await server.connect();
      try {
        return { tools: await backend.tools() };
      } finally {
        backend.close();
      }
    }
    case "pending":
      return { pending: guard.approvals.pending() };
    case "approve":
    case "deny": {
      const settled = guard.approvals.settle(request.id, request.do, request.by);
      if (settled === undefined)
        return { error: `received "${request.id}", which no call waits under: it has expired, or was settled before` };
      const { id, agent, server, tool, argumentsHash } = settled;
      guard.log.info(
        { id, agent, server, tool, argumentsHash, by: request.by },
        request.do === "approve" ? "approved" : "denied",
      );
      return { settled };
    }
    case "status":
      return {
        servers: [...guard.servers.values()].map(({ name, quarantined }) => ({ name, quarantined })),
      };
  }
}
