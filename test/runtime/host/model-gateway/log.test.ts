import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { errorCode } from "../../../../runtime/host/model-gateway/log.ts";
import { sha256 } from "../../../../runtime/spec/digest.ts";
import { ask, asOps, chat, open, raw } from "./client.ts";
import { configFor, KEYS, type RunningGateway, startGateway, until } from "./program.ts";
import { OPENAI_ANSWER, provider, startUpstream, type TestUpstream } from "./test-upstream.ts";

let upstream: TestUpstream;
let gateway: RunningGateway;
beforeAll(async () => {
  upstream = await startUpstream();
  const limits = { bodyBytes: 10_000, bufferedBytes: 64 * 1024 * 1024, headerTimeoutMs: 300, idleTimeoutMs: 300 };
  gateway = await startGateway(configFor(upstream.url, { limits }));
});
beforeEach(() => upstream.behave(provider));

const path = "/gpt/v1/chat/completions";

describe("the log", () => {
  it("says at start what is served, and that is all", () => {
    const [line] = gateway.lines();
    expect(line).toEqual({
      level: "info",
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      port: gateway.port,
      node: process.version,
      routes: [
        "claude (anthropic)",
        "gpt (openai)",
        "local (openai-compatible)",
        "demo (demo)",
        "gemini (google)",
        "router (openrouter)",
      ],
      agents: 2,
      adminPort: gateway.adminPort,
      msg: "started",
    });
  });

  it("has one line per call with exactly these fields", async () => {
    const body = chat();
    const before = gateway.lines().length;
    const answer = await ask(gateway.port, { path, body });
    const line = await gateway.call(answer.requestId);
    expect(line).toEqual({
      level: "info",
      time: expect.any(String),
      requestId: answer.requestId,
      agent: "ops",
      route: "gpt",
      endpoint: "/v1/chat/completions",
      model: "gpt-5.6",
      status: 200,
      outcome: "ok",
      reason: null,
      stream: false,
      bytesIn: body.length,
      bytesOut: OPENAI_ANSWER.length,
      msToFirstByte: expect.any(Number),
      ms: expect.any(Number),
      upstreamRequestId: "req_up_1",
      attempts: 1,
      servedBy: "gpt",
      keyId: sha256(KEYS.ops).slice(0, 8),
      inputTokens: 9,
      outputTokens: 2,
      usd: 0.000000029,
      usdIsReserved: false,
      changed: [],
      msg: "call",
    });
    expect(Number(line.ms)).toBeGreaterThanOrEqual(Number(line.msToFirstByte));
    expect(gateway.lines()).toHaveLength(before + 1);
    expect(answer.requestId).toMatch(/^[0-9a-f-]{36}$/);
  });

  it("has a line for refused calls too, and none for readiness", async () => {
    const answer = await ask(gateway.port, { path, body: chat("gpt-6") });
    expect(await gateway.call(answer.requestId)).toMatchObject({
      level: "warn",
      agent: "ops",
      model: "gpt-6",
      status: 403,
      outcome: "refused",
      reason: "model_not_found",
      upstreamRequestId: null,
      msToFirstByte: null,
    });
    const unknown = await ask(gateway.port, { path, headers: {}, body: chat() });
    expect(await gateway.call(unknown.requestId)).toMatchObject({
      agent: null,
      route: null,
      reason: "invalid_api_key",
    });
    const before = gateway.lines().length;
    await ask(gateway.port, { method: "GET", path: "/healthz", headers: {} });
    await ask(gateway.port, { path, body: chat() });
    await until(() => gateway.lines().length > before, "the next line");
    expect(gateway.lines()).toHaveLength(before + 1);
  });

  it("never holds content or keys, however a call ends", async () => {
    const canary = "canary-content-7f3a";
    const content = { messages: [{ role: "user", content: canary }], system: canary, [`${canary}-field`]: canary };
    const post = (more: object, model = "gpt-5.6", headers: Record<string, string> = {}, suffix = "") =>
      open(gateway.port, {
        path: path + suffix,
        headers: { ...asOps, ...headers },
        body: chat(model, { ...content, ...more }),
      })
        .response.then(async (response) => {
          for await (const _ of response);
        })
        .catch(() => {});

    upstream.behave((_, res) => {
      res.writeHead(200, {
        "content-type": "application/json",
        "x-request-id": `${canary} x`,
        "x-ratelimit-x": canary,
      });
      res.end(`{"answer":"${canary}"}`);
    });
    await post({});
    await post({}, canary.repeat(20));
    await post({}, `${canary}\n`);
    await post({}, "gpt-5.6", {}, `?${canary}`);
    await post({}, "gpt-5.6", {}, `/${canary}`);
    await post({}, "gpt-5.6", { authorization: `Bearer ${canary}` });
    await post({}, "gpt-5.6", { cookie: canary, accept: `${canary} caf\u00e9`, "x-request-id": canary });
    await post({}, "gpt-5.6", { "content-type": canary });
    await post({ pad: canary.repeat(1000) });
    await ask(gateway.port, { path, body: `{"model":"gpt-5.6","${canary}":1,"${canary}":2` });
    await ask(gateway.port, { path, body: `{"model":"gpt-5.6","a":${canary}}` });
    await raw(gateway.port, `${canary}\r\n\r\n`);
    await raw(gateway.port, `POST ${path} HTTP/1.1\r\n${canary}: ${canary}\r\n${canary}\r\n\r\n`);
    upstream.behave((_, res) => res.writeHead(500).end(canary));
    await post({});
    upstream.behave((_, res) => res.writeHead(302, { location: `https://${canary}.example.com` }).end());
    await post({});
    upstream.behave((_, res) => res.socket?.end(`HTTP/1.1 ${canary}\r\n${canary}\r\n\r\n`));
    await post({});
    upstream.behave((received, res) => res.end(`${canary}${received.headers.authorization}`));
    await post({});
    upstream.behave((_, res) => res.write(canary));
    await post({});
    upstream.behave(() => {});
    await post({});

    const outcomes = () => new Set(gateway.lines().map((line) => line.reason ?? line.outcome));
    await until(() => outcomes().has("upstream_timeout"), "the last line");
    for (const expected of ["ok", "upstream_idle", "key_in_response", "upstream_unreachable", "upstream_redirect"])
      expect(outcomes()).toContain(expected);
    expect(gateway.output()).not.toMatch(/canary/i);
    expect(gateway.output()).not.toContain(Buffer.from(KEYS.ops).toString("base64"));
  });

  it("tells of an error its code or its kind, never its message", () => {
    const coded = Object.assign(new Error("canary"), { code: "ECONNRESET" });
    const strange = Object.assign(new Error("canary"), { code: "canary in a code", name: "canary in a name" });
    expect([coded, new TypeError("canary"), strange, "canary"].map(errorCode)).toEqual([
      "ECONNRESET",
      "TypeError",
      "unknown",
      "unknown",
    ]);
  });
});
