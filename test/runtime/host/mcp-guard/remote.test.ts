import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, describe, expect, it } from "vitest";
import { guardConfig, openSession, pinned, refusal, sdkClient, serverConfig, startGuard, until } from "./program.ts";

const TOKEN = "canary-remote-token-0123456789";
const TOOL = { name: "look", inputSchema: { type: "object", properties: { text: { type: "string" } } } };

const children: ChildProcess[] = [];
const closers: (() => void)[] = [];
afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
  for (const close of closers) close();
});

interface Heard {
  readonly headers: IncomingMessage["headers"];
  readonly message: { id?: number; method: string };
}

/** A remote server that does as the test says once it has been introduced to. */
async function remote(onCall: (res: ServerResponse, id: unknown) => void) {
  const heard: Heard[] = [];
  const server = createServer((req, res) => {
    let text = "";
    req.on("data", (chunk) => {
      text += chunk;
    });
    req.on("end", () => {
      const message = JSON.parse(text);
      heard.push({ headers: req.headers, message });
      const { id, method, params } = message;
      const json = (result: unknown) => {
        res.setHeader("content-type", "application/json").setHeader("mcp-session-id", "s-1");
        res.end(JSON.stringify({ jsonrpc: "2.0", id, result }));
      };
      if (id === undefined) res.writeHead(202).end();
      else if (method === "initialize")
        json({ protocolVersion: params.protocolVersion, capabilities: {}, serverInfo: { name: "r", version: "1" } });
      else if (method === "tools/list") json({ tools: [TOOL] });
      else onCall(res, id);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
  const guard = await startGuard(
    guardConfig([
      serverConfig("far", { kind: "remote", url, credential: "secret.far" }, pinned([TOOL]), { ops: ["look"] }),
    ]),
    { "secret.far": `${TOKEN}\n` },
  );
  return { guard, heard, session: await openSession(guard, "far") };
}

const stream = (res: ServerResponse, messages: unknown[]) => {
  res.setHeader("content-type", "text/event-stream");
  res.end(messages.map((message) => `event: message\r\ndata: ${JSON.stringify(message)}\r\n\r\n`).join(""));
};
const text = (words: string) => ({ content: [{ type: "text", text: words }] });

describe("a remote server", () => {
  it("is called through the guard as a stdio server is: a real one, by the official client", async () => {
    const port = 20_000 + (process.pid % 20_000);
    const child = spawn(
      process.execPath,
      ["node_modules/@modelcontextprotocol/server-everything/dist/index.js", "streamableHttp"],
      { env: { PATH: process.env.PATH ?? "", PORT: String(port) }, stdio: ["ignore", "pipe", "pipe"] },
    );
    children.push(child);
    let said = "";
    child.stderr?.on("data", (chunk) => {
      said += chunk;
    });
    await until(() => said.includes("listening"), "the server to listen");
    const backend = { kind: "remote", url: `http://127.0.0.1:${port}/mcp`, credential: null } as const;
    const first = await startGuard(guardConfig([serverConfig("far", backend, [], {})]));
    const answer = await first.admin({ do: "tools", server: "far" });
    const tools = "tools" in answer ? answer.tools : [];
    const guard = await startGuard(guardConfig([serverConfig("far", backend, pinned(tools), { ops: ["echo"] })]));
    const client = await sdkClient(guard, "far");
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(["echo"]);
    const result = await client.callTool({ name: "echo", arguments: { message: "hello" } });
    expect(JSON.stringify(result)).toContain("hello");
  });

  it("is sent its own token, and never the agent's", async () => {
    const { heard, session } = await remote((res, id) => stream(res, [{ jsonrpc: "2.0", id, result: text("done") }]));
    expect((await session.call("look", { text: "x" })).body.result).toEqual(text("done"));
    expect(new Set(heard.map(({ headers }) => headers.authorization))).toEqual(new Set([`Bearer ${TOKEN}`]));
    const call = heard.find(({ message }) => message.method === "tools/call");
    expect(call?.headers).toMatchObject({ "mcp-session-id": "s-1", "mcp-protocol-version": "2025-11-25" });
  });

  it("cannot hand its token to the agent", async () => {
    const { guard, session } = await remote((res, id) => stream(res, [{ jsonrpc: "2.0", id, result: text(TOKEN) }]));
    const answer = await session.call("look", { text: "x" });
    expect(JSON.stringify(answer.body)).not.toContain(TOKEN);
    expect(refusal(answer)).toContain("ended before it answered");
    expect(guard.output()).not.toContain(TOKEN);
  });

  it("leads nowhere else: a redirect is not followed", async () => {
    let elsewhere = 0;
    const other = createServer((_, res) => {
      elsewhere += 1;
      res.end();
    }).listen(0, "127.0.0.1");
    await once(other, "listening");
    closers.push(() => other.close());
    const location = `http://127.0.0.1:${(other.address() as AddressInfo).port}/`;
    const { session } = await remote((res) => res.writeHead(307, { location }).end());
    expect(refusal(await session.call("look", { text: "x" }))).toContain("ended before it answered");
    expect(elsewhere).toBe(0);
  });

  it.each([
    ["JSON", "application/json"],
    ["an endless event", "text/event-stream"],
  ])("is cut off when its answer is too large: %s", async (_, type) => {
    const { session } = await remote((res) => {
      res.setHeader("content-type", type);
      res.write("data: ");
      const flood = setInterval(() => res.write("x".repeat(64 * 1024)), 1);
      res.on("close", () => clearInterval(flood));
    });
    expect(refusal(await session.call("look", { text: "x" }))).toContain("ended before it answered");
  });

  it("asks its client in vain, within the stream of an answer", async () => {
    const { heard, session } = await remote((res, id) =>
      stream(res, [
        { jsonrpc: "2.0", id: "q", method: "sampling/createMessage", params: {} },
        { jsonrpc: "2.0", method: "notifications/progress", params: {} },
        { jsonrpc: "2.0", id, result: text("done") },
      ]),
    );
    expect((await session.call("look", { text: "x" })).body.result).toEqual(text("done"));
    await until(() => heard.some(({ message }) => "error" in message), "the refusal");
  });
});
