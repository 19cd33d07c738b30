import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { errorCode } from "../../../../runtime/host/model-gateway/log.ts";
import { redact, Transcript } from "../../../../runtime/host/model-gateway/transcript.ts";
import { sha256 } from "../../../../runtime/spec/digest.ts";
import { ask, asOps, chat, open, raw } from "./client.ts";
import { configFor, KEYS, PROVIDER_KEY, type RunningGateway, startGateway, until } from "./program.ts";
import { OPENAI_ANSWER, OPENAI_EVENTS, provider, startUpstream, type TestUpstream } from "./test-upstream.ts";

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

describe("content", () => {
  const logged = async (change: object) => {
    const config = configFor(upstream.url);
    for (const route of config.routes) Object.assign(route, change);
    const opted = await startGateway(config);
    const said = `my key is sk-live-0123456789abcdef, my password is {"password": "hunter2hunter2"}, good day`;
    const body = chat("gpt-5.6", { stream: true, messages: [{ role: "user", content: said }] });
    await ask(opted.port, { path: "/gpt/v1/chat/completions", body });
    await until(() => opted.lines().some(({ msg }) => msg === "call"), "the line of the call");
    return opted;
  };

  it("is not logged unless the operator says so", async () => {
    const closed = await logged({});
    expect(closed.lines().map(({ msg }) => msg)).toEqual(["started", "call"]);
    expect(closed.output()).not.toContain("good day");
  });

  it("is logged beside the call's line if the operator says so, without what looks like a secret", async () => {
    const opted = await logged({ logContent: true });
    const content = opted.lines().find(({ msg }) => msg === "content");
    const call = opted.lines().find(({ msg }) => msg === "call");
    expect(content).toMatchObject({
      ...{ requestId: call?.requestId, agent: "ops", route: "gpt", model: "gpt-5.6" },
      request: { truncated: false, text: expect.stringContaining("good day") },
      response: { truncated: false, text: OPENAI_EVENTS.join("") },
    });
    for (const secret of ["0123456789abcdef", "hunter2", PROVIDER_KEY, KEYS.ops])
      expect(opted.output(), secret).not.toContain(secret);
  });

  it("is cut after 8 KiB, whatever was sent, and a secret at the cut is left out whole", () => {
    const transcript = new Transcript();
    const text = `${"x".repeat(8 * 1024 - 12)} sk-live-0123456789abcdef${"y".repeat(50_000)}`;
    for (let i = 0; i < text.length; i += 1000) transcript.push(Buffer.from(text.slice(i, i + 1000)));
    const { text: kept, bytes, truncated } = transcript.read([]);
    expect([bytes, truncated, kept.length]).toEqual([text.length, true, 8 * 1024]);
    expect(kept.slice(-12)).toBe(" [redacted]y");
  });

  it.each([
    [
      "keys of services",
      "use ghp_0123456789abcdefghij and AKIA0123456789ABCDEF now",
      "use [redacted] and [redacted] now",
    ],
    ["a private key", "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- ok", "[redacted] ok"],
    ["half a private key", "x -----BEGIN PRIVATE KEY-----\nabc", "x [redacted]"],
    ["a token of JSON", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "[redacted]"],
    ["a header", "Authorization: Bearer abcdefgh12345678", "Authorization: Bearer [redacted]"],
    ["a URL with a password", "postgres://ada:pw@db.example.com/x", "postgres://[redacted]@db.example.com/x"],
    [
      "a field in quoted JSON",
      '{\\"token\\": \\"abc def\\", \\"n\\": 1}',
      '{\\"token\\": \\"[redacted]\\", \\"n\\": 1}',
    ],
    ["what was given", "it is CORRECT-HORSE, is it", "it is [redacted], is it"],
    [
      "and nothing else",
      "a skill, a token of thanks, https://example.com/a@b",
      "a skill, a token of thanks, https://example.com/a@b",
    ],
  ])("leaves out %s", (_, text, left) => {
    expect(redact(text, ["CORRECT-HORSE"])).toBe(left);
  });

  it("is redacted in short time, whatever it is", () => {
    const started = performance.now();
    for (const evil of ["a", "-----BEGIN PRIVATE KEY-----", '"token":"', "a://", "bearer ", "eyJ", "sk-", "\\"])
      redact(evil.repeat(9000 / evil.length), []);
    expect(performance.now() - started).toBeLessThan(1000);
  });
});
