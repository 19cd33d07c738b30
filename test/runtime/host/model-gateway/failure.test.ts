import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { beforeEach, describe, expect, it } from "vitest";
import { ask, asOps, chat, open, whole } from "./client.ts";
import { configFor, type RunningGateway, startGateway, until } from "./program.ts";
import { OPENAI_EVENTS, provider, startUpstream } from "./test-upstream.ts";

const upstream = await startUpstream();
const limits = { bodyBytes: 1024 * 1024, headerTimeoutMs: 700, idleTimeoutMs: 700 };
const gateway: RunningGateway = await startGateway(configFor(upstream.url, { limits }));
beforeEach(async () => {
  upstream.behave(provider);
  // between failures one success, or the provider would be left alone after five
  for (const [to, model] of [
    [path, "gpt-5.6"],
    ["/claude/v1/messages", "claude-sonnet-4-6"],
  ] as const)
    await ask(gateway.port, { path: to, body: chat(model) });
  upstream.received.length = 0;
});

const path = "/gpt/v1/chat/completions";
const streamed = { path, body: chat("gpt-5.6", { stream: true }) };
const ok = async () => expect((await ask(gateway.port, { path, body: chat() })).status).toBe(200);

describe("a redirect", () => {
  it.each([301, 302, 303, 307, 308, 304])("with status %i is not followed and not passed on", async (status) => {
    upstream.behave((received, res) => {
      if (received.url === "/stolen") res.end("followed");
      else res.writeHead(status, { location: `${upstream.url}/stolen` }).end();
    });
    const answer = await ask(gateway.port, { path, body: chat() });
    expect([answer.status, answer.json().error.code]).toEqual([502, "upstream_redirect"]);
    expect(answer.json().error.message).toContain(String(status));
    expect(answer.headers.location).toBeUndefined();
    expect(upstream.received.map((r) => r.url)).toEqual(["/v1/chat/completions"]);
  });
});

describe("an upstream that hangs", () => {
  it("before the headers is answered for with 504, and given up", async () => {
    upstream.behave(() => {});
    const answer = await ask(gateway.port, { path: "/claude/v1/messages", body: chat("claude-sonnet-4-6") });
    expect(answer.status).toBe(504);
    expect(answer.json()).toMatchObject({ type: "error", error: { type: "timeout_error" } });
    await upstream.received[0]?.closed;
    expect(await gateway.call(answer.requestId)).toMatchObject({ outcome: "refused", reason: "upstream_timeout" });
  });

  it("after an interim response still counts as hanging", async () => {
    upstream.behave((_, res) => {
      const interim = setInterval(() => res.writeProcessing(), 100);
      res.on("close", () => clearInterval(interim));
    });
    expect((await ask(gateway.port, { path, body: chat() })).status).toBe(504);
  });

  it("in the middle of a stream has the stream cut, never ended as if whole", async () => {
    upstream.behave((_, res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.write(OPENAI_EVENTS[0]);
    });
    const response = await open(gateway.port, streamed).response;
    await expect(whole(response)).rejects.toThrow("aborted");
    expect(await gateway.call(String(response.headers["x-bailiwick-request-id"]))).toMatchObject({
      outcome: "upstream_idle",
      status: 200,
      bytesOut: OPENAI_EVENTS[0]?.length,
    });
    await upstream.received[0]?.closed;
  });

  it("now and then, but less than the limit, is waited for", async () => {
    upstream.behave(async (_, res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      for (const event of OPENAI_EVENTS) {
        res.write(event);
        await new Promise((resolve) => setTimeout(resolve, 250));
      }
      res.end();
    });
    expect((await ask(gateway.port, streamed)).text).toBe(OPENAI_EVENTS.join(""));
  });

  it("is not waited for longer by a client that stops reading", async () => {
    upstream.behave((_, res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.write(Buffer.alloc(20_000_000, "x"));
    });
    const response = await open(gateway.port, streamed).response;
    response.pause();
    const id = String(response.headers["x-bailiwick-request-id"]);
    expect(await gateway.call(id)).toMatchObject({ outcome: "client_stalled" });
    response.destroy();
    await upstream.received[0]?.closed;
  });
});

describe("an upstream that dies", () => {
  it("before the headers is answered for with 502 in the provider's format", async () => {
    upstream.behave((_, res) => res.socket?.destroy());
    const openai = await ask(gateway.port, { path, body: chat() });
    expect([openai.status, openai.json().error.type]).toEqual([502, "server_error"]);
    const native = await ask(gateway.port, { path: "/claude/v1/messages", body: chat("claude-sonnet-4-6") });
    expect(native.json()).toMatchObject({ type: "error", error: { type: "api_error" } });
    // once each: a call that costs money is not repeated
    expect(upstream.received).toHaveLength(2);
  });

  it.each([
    ["chunked", {}],
    ["announced", { "content-length": "5000" }],
  ])("in the middle of a body that is %s has it cut", async (_, headers) => {
    upstream.behave((_received, res) => {
      res.writeHead(200, { "content-type": "text/event-stream", ...headers });
      res.write(OPENAI_EVENTS[0]);
      setTimeout(() => res.socket?.destroy(), 100);
    });
    const response = await open(gateway.port, streamed).response;
    await expect(whole(response)).rejects.toThrow("aborted");
    expect(await gateway.call(String(response.headers["x-bailiwick-request-id"]))).toMatchObject({
      outcome: "upstream_cut",
    });
  });

  it("and answers what is no HTTP is answered for with 502", async () => {
    const nonsense = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => socket.end("SSH-2.0-nonsense\r\n"));
    }).listen(0, "127.0.0.1");
    await once(nonsense, "listening");
    const other = await startGateway(configFor(`http://127.0.0.1:${(nonsense.address() as { port: number }).port}`));
    const answer = await ask(other.port, { path, body: chat() });
    expect(answer.status).toBe(502);
    nonsense.close();
  });

  it("and does not listen any more is answered for with 502", async () => {
    const gone = await startUpstream();
    const other = await startGateway(configFor(gone.url));
    expect((await ask(other.port, { path, body: chat() })).status).toBe(200);
    await gone.close();
    const answer = await ask(other.port, { path, body: chat() });
    expect([answer.status, answer.json().error.code]).toEqual([502, "upstream_unreachable"]);
    const line = await other.call(answer.requestId);
    expect(["ECONNREFUSED", "UND_ERR_SOCKET"]).toContain(line.error);
  });
});

describe("pooled connections", () => {
  it("are all forgotten after one has hung: the next request does not wait for the dead ones", async () => {
    // an uplink that restarts: connections that exist go dead without a word, new ones work
    const alive = new Set<Socket>();
    let opened = 0;
    const uplink = createServer((socket) => {
      opened++;
      const onward = connect(upstream.port, "127.0.0.1");
      for (const [from, to] of [
        [socket, onward],
        [onward, socket],
      ] as const) {
        from.on("error", () => {});
        from.on("close", () => to.destroy());
        from.on("data", (chunk) => {
          if (alive.has(socket)) to.write(chunk);
        });
      }
      alive.add(socket);
    }).listen(0, "127.0.0.1");
    await once(uplink, "listening");
    const { port } = uplink.address() as { port: number };
    const other = await startGateway(
      configFor(`http://127.0.0.1:${port}`, { limits: { ...limits, headerTimeoutMs: 3000 } }),
    );

    upstream.behave((received, res) => setTimeout(() => provider(received, res), 100));
    const round = () => Promise.all(Array.from({ length: 4 }, () => ask(other.port, { path, body: chat() })));
    expect((await round()).map((a) => a.status)).toEqual([200, 200, 200, 200]);
    expect(opened).toBeGreaterThan(1);
    alive.clear();
    expect((await ask(other.port, { path, body: chat() })).status).toBe(504);
    // each of the other dead ones would be answered for by another 504
    expect((await round()).map((a) => a.status)).toEqual([200, 200, 200, 200]);
    uplink.close();
  });
});

describe("a client that leaves", () => {
  it("before the headers ends the provider's work", async () => {
    upstream.behave(() => {});
    const { request } = open(gateway.port, streamed);
    request.on("error", () => {});
    await until(() => upstream.received.length === 1, "the request upstream");
    const gone = () => gateway.lines().filter((line) => line.outcome === "client_gone").length;
    const before = gone();
    request.destroy();
    await upstream.received[0]?.closed;
    // by the client's leaving, not by the provider's time being up
    await until(() => gone() > before, "the log line");
  });

  it("in the middle of a stream ends the provider's work", async () => {
    upstream.behave((_, res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.write(OPENAI_EVENTS[0]);
    });
    const response = await open(gateway.port, streamed).response;
    response.on("error", () => {});
    await once(response, "data");
    response.destroy();
    await upstream.received[0]?.closed;
    const id = String(response.headers["x-bailiwick-request-id"]);
    expect(await gateway.call(id)).toMatchObject({ outcome: "client_gone" });
  });

  it("in the middle of its body sends the provider nothing", async () => {
    const gone = () =>
      gateway.lines().filter((line) => line.outcome === "client_gone" && line.status === null && line.attempts === 0);
    const before = gone().length;
    const socket = connect(gateway.port, "127.0.0.1");
    socket.on("error", () => {});
    const head = Object.entries({ host: "x", ...asOps, "content-length": 100 }).map((h) => h.join(": "));
    socket.write(`POST ${path} HTTP/1.1\r\n${head.join("\r\n")}\r\n\r\n{"model":"gpt-5.6"`);
    await new Promise((resolve) => setTimeout(resolve, 100));
    socket.destroy();
    await until(() => gone().length > before, "the log line");
    expect(upstream.received).toEqual([]);
  });
});

it("serves on after all of this", ok);
