import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { sha256 } from "../../../../runtime/spec/digest.ts";
import { asDocs, ask, asOps, chat } from "./client.ts";
import { configFor, KEYS, PROVIDER_KEY, type RunningGateway, startGateway } from "./program.ts";
import { startUpstream, type TestUpstream } from "./test-upstream.ts";

let upstream: TestUpstream;
let gateway: RunningGateway;
beforeAll(async () => {
  upstream = await startUpstream();
  gateway = await startGateway(configFor(`${upstream.url}/base`));
});
beforeEach(() => {
  upstream.received.length = 0;
});

const gpt = "/gpt/v1/chat/completions";
const claude = "/claude/v1/messages";
const json = { "content-type": "application/json" };

describe("readiness", () => {
  it("answers /healthz without a key", async () => {
    const answer = await ask(gateway.port, { method: "GET", path: "/healthz", headers: {} });
    expect([answer.status, answer.text]).toEqual([200, '{"status":"ok"}']);
  });
});

describe("keys", () => {
  it("admits an agent's key in either header, and the second one during rotation", async () => {
    for (const headers of [
      asOps,
      { ...json, authorization: `bearer ${KEYS.ops}` },
      { ...json, "x-api-key": KEYS.ops },
      { ...json, "x-api-key": KEYS.ops, authorization: `Bearer ${KEYS.ops}` },
      { ...json, "x-api-key": "bw-second-key-docs" },
    ])
      expect((await ask(gateway.port, { path: gpt, headers, body: chat() })).status).toBe(200);
    expect(upstream.received).toHaveLength(5);
  });

  const refused: [string, Record<string, string | string[]>][] = [
    ["no key", {}],
    ["a wrong key", { authorization: "Bearer bw-wrong" }],
    ["an empty key", { authorization: "Bearer " }],
    ["an empty x-api-key", { "x-api-key": "" }],
    ["the hash of a key", { authorization: `Bearer ${sha256(KEYS.ops)}` }],
    ["the provider's key", { authorization: `Bearer ${PROVIDER_KEY}` }],
    ["a beginning of a key", { authorization: `Bearer ${KEYS.ops.slice(0, -1)}` }],
    ["a key in another scheme", { authorization: `Basic ${KEYS.ops}` }],
    ["a key in a cookie", { cookie: `authorization=${KEYS.ops}` }],
    [
      "two different keys, one of them as Google writes it",
      { authorization: `Bearer ${KEYS.ops}`, "x-goog-api-key": "x" },
    ],
    ["two different keys", { authorization: "Bearer mine", "x-api-key": KEYS.ops }],
    ["x-api-key twice", { "x-api-key": [KEYS.ops, KEYS.docs] }],
    ["x-api-key twice, the good one first", { "x-api-key": [KEYS.ops, "other"] }],
    ["authorization twice", { authorization: [`Bearer ${KEYS.ops}`, "Bearer other"] }],
  ];
  it.each(refused)("answers 401 to %s, and the provider hears nothing", async (_, headers) => {
    const answer = await ask(gateway.port, { path: gpt, headers: { ...json, ...headers }, body: chat() });
    expect(answer.status).toBe(401);
    expect(answer.json().error.code).toBe("invalid_api_key");
    expect(upstream.received).toEqual([]);
  });

  it("tells those without a key nothing about what exists", async () => {
    const of = async (path: string) => (await ask(gateway.port, { path, headers: json, body: chat() })).status;
    expect(await Promise.all([gpt, "/nosuch/v1/chat/completions", "/gpt/v1/files", "/"].map(of))).toEqual([
      401, 401, 401, 401,
    ]);
  });

  it("writes errors in the provider's own format", async () => {
    const anthropic = (await ask(gateway.port, { path: claude, headers: json, body: chat() })).json();
    expect(anthropic).toMatchObject({ type: "error", error: { type: "authentication_error" } });
    expect(anthropic.error.message).toContain("x-api-key");
    const openai = (await ask(gateway.port, { path: gpt, headers: json, body: chat() })).json();
    expect(openai).toMatchObject({ error: { type: "invalid_request_error", code: "invalid_api_key", param: null } });
  });
});

describe("grants", () => {
  it("refuses an agent on a route it has no grant on, with 403 in that format", async () => {
    const body = chat("claude-sonnet-4-6");
    expect((await ask(gateway.port, { path: claude, headers: asOps, body })).status).toBe(200);
    const answer = await ask(gateway.port, { path: claude, headers: asDocs, body });
    expect(answer.status).toBe(403);
    expect(answer.json()).toMatchObject({ type: "error", error: { type: "permission_error" } });
    expect(answer.json().error.message).toContain('agent "docs" has no grant on "claude"');
    expect(upstream.received).toHaveLength(1);
  });

  it("refuses a model that is not granted, naming it and those that are", async () => {
    const answer = await ask(gateway.port, { path: gpt, body: chat("gpt-6-ultra") });
    expect(answer.status).toBe(403);
    expect(answer.json().error).toMatchObject({ code: "model_not_found", param: "model" });
    expect(answer.json().error.message).toMatch(/"gpt-6-ultra" is not granted.*"gpt-5.6", "gpt-5.6-mini"/);
    const native = await ask(gateway.port, { path: claude, body: chat("claude-opus-5") });
    expect(native.json()).toMatchObject({ type: "error", error: { type: "permission_error" } });
    expect(native.json().error.message).toContain('"claude-sonnet-4-6"');
    expect(upstream.received).toEqual([]);
  });

  it.each([
    "GPT-5.6",
    " gpt-5.6",
    "gpt-5.6 ",
    "gpt-5.6\u0000",
    "gpt‐5.6",
    "gpt-5.6\u200b",
    "openai/gpt-5.6",
    "",
    "constructor",
    "__proto__",
    "x".repeat(5000),
  ])("does not take %j for a granted model", async (model) => {
    const answer = await ask(gateway.port, { path: gpt, body: chat(model) });
    expect([400, 403]).toContain(answer.status);
    expect(upstream.received).toEqual([]);
  });

  it("lists only the granted models, in the provider's format, without asking the provider", async () => {
    const list = async (path: string, headers: Record<string, string> = asOps) =>
      (await ask(gateway.port, { method: "GET", path, headers })).json();
    expect(await list("/gpt/v1/models", asDocs)).toEqual({
      object: "list",
      data: ["gpt-5.6", "gpt-5.6-mini"].map((id) => ({ id, object: "model", created: 0, owned_by: "gpt" })),
    });
    const anthropic = await list("/claude/v1/models?limit=1000");
    expect(anthropic).toMatchObject({ has_more: false, first_id: "claude-sonnet-4-6" });
    expect(anthropic.data).toMatchObject([{ type: "model", id: "claude-sonnet-4-6" }]);
    expect((await ask(gateway.port, { method: "GET", path: "/claude/v1/models", headers: asDocs })).status).toBe(403);
    expect(upstream.received).toEqual([]);
  });
});

describe("paths", () => {
  it.each([
    ["/gpt/v1/chat/completions", "/base/v1/chat/completions", chat()],
    ["/local/v1/chat/completions", "/base/v1/chat/completions", chat("qwen")],
    ["/demo/v1/chat/completions", "/base/v1/chat/completions", chat("demo")],
    ["/claude/v1/messages", "/base/v1/messages", chat("claude-sonnet-4-6")],
    ["/claude/v1/messages?beta=true", "/base/v1/messages?beta=true", chat("claude-sonnet-4-6")],
    ["/claude/v1/messages/count_tokens", "/base/v1/messages/count_tokens", chat("claude-sonnet-4-6")],
  ])("sends %s to %s of the provider", async (path, url, body) => {
    expect((await ask(gateway.port, { path, body })).status).toBe(200);
    expect(upstream.received.map((r) => [r.method, r.url])).toEqual([["POST", url]]);
  });

  it.each([
    "/claude/../gpt/v1/chat/completions",
    "/gpt/../claude/v1/messages",
    "/gpt/v1/../v1/chat/completions",
    "/gpt/v1/./chat/completions",
    "/gpt//v1/chat/completions",
    "//gpt/v1/chat/completions",
    "/gpt/v1/chat/completions/",
    "/gpt/v1/chat/completions;x=1",
    "/gpt/v1/chat/completions#x",
    "/gpt/v1/chat/completions?key=1",
    "/gpt/v1/chat%2fcompletions",
    "/gpt/v1/%2e%2e/v1/chat/completions",
    "/%67pt/v1/chat/completions",
    "/gpt/v1/chat\\completions",
    "/GPT/v1/chat/completions",
    "/gpt/V1/chat/completions",
    "/gpt/v1/files",
    "/gpt/v1/messages",
    "/claude/v1/chat/completions",
    "/claude/v1/messages/batches",
    "/claude/v1/messages?beta=true&x=1",
    "/constructor/v1/chat/completions",
    "/nosuch/v1/chat/completions",
    "/gpt",
    "/",
    "http://127.0.0.1:1/gpt/v1/chat/completions",
    "*",
  ])("answers 404 to %s, and the provider hears nothing", async (path) => {
    for (const model of ["gpt-5.6", "claude-sonnet-4-6"]) {
      const answer = await ask(gateway.port, { path, body: chat(model) });
      expect(answer.status).toBe(404);
      const { error, type } = answer.json();
      if (path.startsWith("/claude/")) expect([type, error.type]).toEqual(["error", "not_found_error"]);
      else expect(error.code).toBe("not_found");
    }
    expect(upstream.received).toEqual([]);
  });

  it.each(["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"])(
    "does not take %s for POST",
    async (method) => {
      const answer = await ask(gateway.port, { method, path: gpt, body: method === "HEAD" ? "" : chat() });
      expect(answer.status).toBe(404);
      expect(upstream.received).toEqual([]);
    },
  );
});
