import { beforeEach, describe, expect, it } from "vitest";
import { ask, asOps, chat } from "./client.ts";
import { configFor, KEYS, PROVIDER_KEY, startGateway } from "./program.ts";
import { provider, startUpstream } from "./test-upstream.ts";

const upstream = await startUpstream();
const gateway = await startGateway(configFor(upstream.url));
beforeEach(() => {
  upstream.behave(provider);
  upstream.received.length = 0;
});

const asGoogle = { "x-goog-api-key": KEYS.ops, "content-type": "application/json" };
const contents = JSON.stringify({ contents: [{ role: "user", parts: [{ text: "hello" }] }] });
const invocations: [string, string, string, Record<string, string>?][] = [
  ["OpenAI chat completions", "/gpt/v1/chat/completions", chat()],
  ["OpenAI responses", "/gpt/v1/responses", JSON.stringify({ model: "gpt-5.6", input: "hello" })],
  ["OpenAI embeddings", "/gpt/v1/embeddings", JSON.stringify({ model: "gpt-5.6", input: "hello" })],
  ["Anthropic messages", "/claude/v1/messages", chat("claude-sonnet-4-6")],
  ["Anthropic count_tokens", "/claude/v1/messages/count_tokens?beta=true", chat("claude-sonnet-4-6")],
  ["Google generateContent", "/gemini/v1beta/models/gemini-3-pro:generateContent", contents, asGoogle],
  [
    "Google streamGenerateContent",
    "/gemini/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse",
    contents,
    asGoogle,
  ],
  ["OpenRouter chat completions", "/router/v1/chat/completions", chat("vendor/model-1")],
  ["a server of OpenAI's format by URL", "/local/v1/responses", JSON.stringify({ model: "qwen", input: "hello" })],
];

describe("what is passed on", () => {
  it.each(invocations)("%s, below the provider's own path, with the provider's own key", async (_, path, body, as) => {
    const answer = await ask(gateway.port, { path, body, headers: as ?? asOps });
    expect(answer.status).toBe(200);
    const [received] = upstream.received;
    expect(received?.url).toBe(path.replace(/^\/[a-z]+/, ""));
    expect(received?.body.toString()).toBe(body);
    const key = { claude: "x-api-key", gemini: "x-goog-api-key" }[path.split("/")[1] ?? ""] ?? "authorization";
    expect(String(received?.headers[key])).toContain(PROVIDER_KEY);
    expect(JSON.stringify(received?.rawHeaders)).not.toContain(KEYS.ops);
  });

  it.each([
    ["gpt", "/gpt/v1/models", { object: "list", data: [{ id: "gpt-5.6" }, { id: "gpt-5.6-mini" }] }],
    ["claude", "/claude/v1/models", { data: [{ id: "claude-sonnet-4-6" }], has_more: false }],
    ["gemini", "/gemini/v1beta/models?pageSize=50", { models: [{ name: "models/gemini-3-pro" }] }],
    ["router", "/router/v1/models", { data: [{ id: "vendor/model-1" }] }],
  ])("nothing for the list of models of %s: it is what is granted", async (_, path, list) => {
    const answer = await ask(gateway.port, { method: "GET", path });
    expect([answer.status, answer.json()]).toMatchObject([200, list]);
    expect(upstream.received).toEqual([]);
  });
});

describe("a model by its name", () => {
  it.each([
    ["gpt", "/gpt/v1/models/gpt-5.6", { id: "gpt-5.6", object: "model", created: 0, owned_by: "gpt" }],
    ["claude", "/claude/v1/models/claude-sonnet-4-6?beta=true", { type: "model", id: "claude-sonnet-4-6" }],
    ["gemini", "/gemini/v1beta/models/gemini-3-pro", { name: "models/gemini-3-pro" }],
    ["router", "/router/v1/models/vendor/model-1", { id: "vendor/model-1" }],
    ["router, encoded", "/router/v1/models/vendor%2Fmodel-1", { id: "vendor/model-1" }],
  ])("is answered from what is granted: %s", async (_, path, model) => {
    const answer = await ask(gateway.port, { method: "GET", path });
    expect([answer.status, answer.json()]).toMatchObject([200, model]);
    expect(upstream.received).toEqual([]);
  });

  it.each([
    "/gpt/v1/models/gpt-7",
    "/gpt/v1/models/GPT-5.6",
    "/gpt/v1/models/claude-sonnet-4-6",
    "/gpt/v1/models/",
    "/gpt/v1/models/../models",
    "/router/v1/models/vendor/model-1/endpoints",
    "/claude/v1/models/gpt-5.6",
    "/gemini/v1beta/models/gemini-3-pro:generateContent",
  ])("that is not granted is 404: %s", async (path) => {
    expect((await ask(gateway.port, { method: "GET", path })).status).toBe(404);
    expect(upstream.received).toEqual([]);
  });
});

describe("everything else is 404 in the provider's format", () => {
  const openai = (answer: { error: { code: string } }) => answer.error.code === "not_found";
  const google = (answer: { error: { code: number; status: string } }) =>
    answer.error.code === 404 && answer.error.status === "NOT_FOUND";
  const anthropic = (answer: { type: string; error: { type: string } }) =>
    answer.type === "error" && answer.error.type === "not_found_error";
  it.each<[string, string, (answer: never) => boolean]>([
    ["POST", "/gpt/v1/images/generations", openai],
    ["POST", "/gpt/v1/audio/speech", openai],
    ["POST", "/gpt/v1/batches", openai],
    ["POST", "/gpt/v1/files", openai],
    ["POST", "/gpt/v1/fine_tuning/jobs", openai],
    ["GET", "/gpt/v1/responses/resp_1", openai],
    ["DELETE", "/gpt/v1/responses/resp_1", openai],
    ["POST", "/gpt/v1/chat/completions?x=1", openai],
    ["POST", "/gpt/v1/../v1/chat/completions", openai],
    ["POST", "/gpt/v1/%63hat/completions", openai],
    ["GET", "/router/v1/credits", openai],
    ["POST", "/router/v1/messages", openai],
    ["POST", "/claude/v1/complete", anthropic],
    ["POST", "/claude/v1/messages/batches", anthropic],
    ["POST", "/claude/v1/messages?beta=false", anthropic],
    ["GET", "/claude/v1/files", anthropic],
    ["POST", "/gemini/v1beta/models/gemini-3-pro:predict", google],
    ["POST", "/gemini/v1beta/models/gemini-3-pro:streamGenerateContent", google],
    ["POST", "/gemini/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse&key=x", google],
    ["POST", "/gemini/v1beta/models/gemini-3-pro:generateContent?alt=sse", google],
    ["POST", "/gemini/v1beta/models/../files:generateContent", google],
    ["POST", "/gemini/v1beta/models/a%2Fb:generateContent", google],
    ["POST", "/gemini/v1beta/tunedModels/x:generateContent", google],
    ["POST", "/gemini/v1beta/models/:generateContent", google],
    ["POST", "/gemini/v1beta/models/gemini-3-pro:generateContent:generateContent", google],
    ["POST", "/gemini/v1beta/cachedContents", google],
    ["GET", "/gemini/v1beta/files", google],
  ])("%s %s", async (method, path, inFormat) => {
    const answer = await ask(gateway.port, { method, path, body: method === "POST" ? contents : "" });
    expect(answer.status).toBe(404);
    expect(inFormat(answer.json() as never)).toBe(true);
    expect(upstream.received).toEqual([]);
  });

  it("and a model that is not granted is 403, wherever the provider has its name", async () => {
    const path = "/gemini/v1beta/models/gemini-3-ultra:generateContent";
    const answer = await ask(gateway.port, { path, body: contents, headers: asGoogle });
    expect([answer.status, answer.json().error.status]).toEqual([403, "PERMISSION_DENIED"]);
    expect(upstream.received).toEqual([]);
  });

  it.each([
    ["router", "/router/v1/chat/completions", chat("vendor/model-1", { models: ["vendor/dear"] })],
    ["router in capitals", "/router/v1/chat/completions", chat("vendor/model-1", { Models: ["vendor/dear"] })],
    ["router by preset", "/router/v1/chat/completions", chat("vendor/model-1", { preset: "dear" })],
    [
      "gemini",
      "/gemini/v1beta/models/gemini-3-pro:generateContent",
      JSON.stringify({ model: "models/gemini-3-ultra", contents: [] }),
    ],
  ])("and a second model in the body of %s is refused", async (_, path, body) => {
    expect((await ask(gateway.port, { path, body })).status).toBe(400);
    expect(upstream.received).toEqual([]);
  });

  it("and a key in the query is no key", async () => {
    const path = `/gemini/v1beta/models/gemini-3-pro:generateContent?key=${KEYS.ops}`;
    const answer = await ask(gateway.port, { path, body: contents, headers: { "content-type": "application/json" } });
    expect([answer.status, answer.json().error.status]).toEqual([401, "UNAUTHENTICATED"]);
    expect(gateway.output()).not.toContain(KEYS.ops);
  });
});
