import { randomBytes } from "node:crypto";
import type { ServerResponse } from "node:http";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ask, asOps, chat, open } from "./client.ts";
import { configFor, KEYS, PROVIDER_KEY, type RunningGateway, startGateway, until } from "./program.ts";
import {
  ANTHROPIC_EVENTS,
  OPENAI_ANSWER,
  OPENAI_EVENTS,
  provider,
  startUpstream,
  type TestUpstream,
} from "./test-upstream.ts";

let upstream: TestUpstream;
let gateway: RunningGateway;
beforeAll(async () => {
  upstream = await startUpstream();
  gateway = await startGateway(configFor(upstream.url));
});
beforeEach(() => {
  upstream.behave(provider);
  upstream.received.length = 0;
});

const gpt = "/gpt/v1/chat/completions";
const claude = "/claude/v1/messages";
const last = () => {
  const received = upstream.received.at(-1);
  if (received === undefined) throw new Error("the upstream received nothing");
  return received;
};

describe("bytes", () => {
  it("pass unchanged up and down", async () => {
    const body =
      ' {"messages":[{"role":"user","content":"caf\\u00e9 ünï \\ud83d\\ude00"}],\r\n\t"temperature":1.0e-0 , "model":"gpt-5.6"}\n';
    const answer = await ask(gateway.port, { path: gpt, body });
    expect(last().body.toString()).toBe(body);
    expect(last().headers["content-length"]).toBe(String(Buffer.byteLength(body)));
    expect(answer.body.equals(OPENAI_ANSWER)).toBe(true);
    expect(answer.headers["content-length"]).toBe(String(OPENAI_ANSWER.length));
  });

  it("pass unchanged whatever the answer is: status, binary, large, empty", async () => {
    const large = randomBytes(3_000_000);
    for (const [status, bytes] of [
      [200, large],
      [201, Buffer.alloc(0)],
      [400, Buffer.from('{"error":{"message":"bad"}}')],
      [429, Buffer.from("slow down")],
      [500, Buffer.from([0, 255, 13, 10])],
      [529, Buffer.from('{"type":"error"}')],
    ] as const) {
      upstream.behave((_, res) => res.writeHead(status, { "content-type": "application/octet-stream" }).end(bytes));
      const answer = await ask(gateway.port, { path: gpt, body: chat() });
      expect(answer.status).toBe(status);
      expect(answer.body.equals(bytes)).toBe(true);
    }
  });

  it.each([
    ["OpenAI", gpt, "gpt-5.6", OPENAI_EVENTS, "req_up_2"],
    ["Anthropic", claude, "claude-sonnet-4-6", ANTHROPIC_EVENTS, "req_up_2"],
  ])("of %s's event stream pass unchanged", async (_, path, model, events, id) => {
    const answer = await ask(gateway.port, { path, body: chat(model, { stream: true }) });
    expect(answer.text).toBe(events.join(""));
    expect(answer.headers["content-type"]).toBe("text/event-stream; charset=utf-8");
    expect(await gateway.call(answer.requestId)).toMatchObject({ stream: true, upstreamRequestId: id, outcome: "ok" });
  });

  it.each([
    ["OpenAI", gpt, "gpt-5.6", OPENAI_EVENTS],
    ["Anthropic", claude, "claude-sonnet-4-6", ANTHROPIC_EVENTS],
  ])("of %s's stream arrive one event at a time, each before the next is sent", async (_, path, model, events) => {
    let down: ServerResponse | undefined;
    upstream.behave((_received, res) => {
      down = res;
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.flushHeaders();
    });
    // the headers arrive before any event has been sent
    const response = await open(gateway.port, { path, body: chat(model, { stream: true }) }).response;
    let text = "";
    response.on("data", (chunk) => {
      text += chunk;
    });
    for (const [i, event] of events.entries()) {
      down?.write(event);
      await until(() => text === events.slice(0, i + 1).join(""), `event ${i}`);
    }
    down?.end();
    await until(() => response.complete, "the end of the stream");
  });

  it("wait at the provider when the client does not read", async () => {
    let written = 0;
    const total = 200e6;
    upstream.behave((_, res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      const chunk = Buffer.alloc(100_000, "x");
      const more = () => {
        while (written < total) {
          written += chunk.length;
          if (!res.write(chunk)) return res.once("drain", more);
        }
        return res.end();
      };
      more();
    });
    const response = await open(gateway.port, { path: gpt, body: chat() }).response;
    response.pause();
    let before = -1;
    while (before !== written) {
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    // what the sockets' buffers hold, not what the gateway could
    expect(written).toBeLessThan(total / 4);
    response.resume();
    await until(() => response.complete, "the rest");
    expect(written).toBe(total);
  });
});

describe("headers up", () => {
  it("are the allowed ones and the provider's key, in its own way", async () => {
    const headers = {
      ...asOps,
      "anthropic-version": "2023-06-01",
      "anthropic-beta": "prompt-caching-2024-07-31",
      accept: "application/json",
    };
    await ask(gateway.port, { path: claude, headers, body: chat("claude-sonnet-4-6") });
    const { host, connection, ...rest } = last().headers;
    expect(rest).toEqual({
      "content-type": "application/json",
      "accept-encoding": "identity",
      "user-agent": "bailiwick-model-gateway",
      accept: "application/json",
      "anthropic-version": "2023-06-01",
      "anthropic-beta": "prompt-caching-2024-07-31",
      "x-api-key": PROVIDER_KEY,
      "content-length": String(chat("claude-sonnet-4-6").length),
    });
    expect(host).toBe(`127.0.0.1:${upstream.port}`);
    expect(connection).toBe("keep-alive");

    await ask(gateway.port, { path: gpt, body: chat() });
    expect(last().headers.authorization).toBe(`Bearer ${PROVIDER_KEY}`);
    expect(last().headers["x-api-key"]).toBeUndefined();
    await ask(gateway.port, { path: "/demo/v1/chat/completions", body: chat("demo") });
    expect(last().headers.authorization).toBeUndefined();
  });

  it("hold nothing else of the client: no key, cookie, upstream override, encoding, trace, forwarding", async () => {
    const canary = "canary-header-value";
    const dropped = [
      ..."cookie api-key proxy-authorization openai-organization openai-project idempotency-key".split(" "),
      ..."x-forwarded-for x-forwarded-host forwarded via referer origin x-http-method-override x-original-url".split(
        " ",
      ),
      ..."x-portkey-provider x-portkey-custom-host traceparent baggage x-stainless-lang user-agent accept-language".split(
        " ",
      ),
      ..."te upgrade keep-alive proxy-connection trailer range if-none-match accept-encoding".split(" "),
    ];
    const headers = Object.fromEntries(dropped.map((name) => [name, canary]));
    await ask(gateway.port, { path: gpt, headers: { ...headers, ...asOps }, body: chat() });
    expect(last().rawHeaders.join("\n")).not.toContain(canary);
    expect(last().rawHeaders.join("\n")).not.toContain(KEYS.ops);
    expect(last().headers.host).toBe(`127.0.0.1:${upstream.port}`);
  });

  it("named in `connection` cannot take ours away", async () => {
    const headers = { ...asOps, connection: "authorization, content-length, close" };
    expect((await ask(gateway.port, { path: gpt, headers, body: chat() })).status).toBe(200);
    expect(last().headers.authorization).toBe(`Bearer ${PROVIDER_KEY}`);
  });

  it("with more than printable ASCII are refused", async () => {
    const answer = await ask(gateway.port, { path: gpt, headers: { ...asOps, accept: "caf\u00e9" }, body: chat() });
    expect(answer.status).toBe(400);
    expect(upstream.received).toEqual([]);
  });
});

describe("headers down", () => {
  it("are the allowed ones", async () => {
    upstream.behave((_, res) => {
      res.writeHead(200, {
        "content-type": "application/json",
        "x-request-id": "req_1",
        "x-ratelimit-remaining-requests": "7",
        "anthropic-ratelimit-tokens-reset": "2026-11-22T00:00:00Z",
        "retry-after": "3",
        "set-cookie": ["a=1", "b=2"],
        "openai-organization": "org-1",
        "anthropic-organization-id": "org-2",
        authorization: "Bearer x",
        "x-api-key": "y",
        "www-authenticate": "Basic",
        "alt-svc": 'h3=":443"',
        "strict-transport-security": "max-age=1",
        "access-control-allow-origin": "*",
        server: "up",
        location: "https://elsewhere.example.com",
      });
      res.end("{}");
    });
    const answer = await ask(gateway.port, { path: gpt, body: chat() });
    expect(Object.keys(answer.headers).sort()).toEqual([
      "anthropic-ratelimit-tokens-reset",
      "connection",
      "content-type",
      "date",
      "retry-after",
      "transfer-encoding",
      "x-bailiwick-request-id",
      "x-ratelimit-remaining-requests",
      "x-request-id",
    ]);
  });

  it("that hold the provider's key are dropped, whatever their name", async () => {
    upstream.behave((received, res) => {
      const echoed = String(received.headers.authorization);
      res.writeHead(200, {
        "content-type": "application/json",
        "x-request-id": echoed,
        "x-ratelimit-echo": `<${echoed}>`,
      });
      res.end("{}");
    });
    const answer = await ask(gateway.port, { path: gpt, body: chat() });
    expect(answer.status).toBe(200);
    expect(JSON.stringify(answer.headers)).not.toContain(PROVIDER_KEY);
    expect(answer.headers["content-type"]).toBe("application/json");
    expect(await gateway.call(answer.requestId)).toMatchObject({ upstreamRequestId: null });
  });
});

describe("the provider's key in a body", () => {
  const cutForKey = () => gateway.lines().filter((line) => line.outcome === "key_in_response").length;
  it("ends the answer before it, in one piece or in many", async () => {
    for (const pieces of [[PROVIDER_KEY], [...PROVIDER_KEY], [PROVIDER_KEY.slice(0, 9), PROVIDER_KEY.slice(9)]]) {
      upstream.behave(async (_, res) => {
        res.writeHead(401, { "content-type": "application/json" });
        res.write("incorrect key provided: ");
        for (const piece of pieces) {
          res.write(piece);
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        res.end("!");
      });
      const before = cutForKey();
      let text = "";
      await open(gateway.port, { path: gpt, body: chat() })
        .response.then(async (response) => {
          for await (const chunk of response) text += chunk;
          throw new Error("the answer was passed on as if whole");
        })
        .catch((error) => expect(error.code, error.message).toBe("ECONNRESET"));
      expect("incorrect key provided: ".startsWith(text), text).toBe(true);
      await until(() => cutForKey() === before + 1, "the log line");
    }
  });
});
