import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildSync } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

// The demo model as it runs on a host: one bundled file, a process of its own, under the Node that runs the tests.
const folder = mkdtempSync(join(tmpdir(), "bailiwick-demo-test-"));
const bundle = join(folder, "demo.cjs");
let child: ChildProcess | undefined;
let origin = "";

beforeAll(async () => {
  buildSync({
    entryPoints: ["runtime/host/demo-model/main.ts"],
    outfile: bundle,
    bundle: true,
    platform: "node",
    target: "node20",
    format: "cjs",
    logLevel: "error",
  });
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, "close");
  child = spawn(process.execPath, [bundle], {
    env: { BAILIWICK_PORT: String(port) },
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (child.stdout !== null) await once(child.stdout, "data");
  origin = `http://127.0.0.1:${port}`;
});
afterAll(() => {
  child?.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

// biome-ignore lint/suspicious/noExplicitAny: answers of unknown shape, looked into by assertions
const json = async (response: Response): Promise<any> => response.json();
type Message = { role: string; content: unknown };
const user = (content: unknown): Message => ({ role: "user", content });
const post = (body: unknown) =>
  fetch(`${origin}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
const INTRODUCTION = "this is the demo model of bailiwick: a script, not a language model.";

/** The reply without its introduction, which must be there. */
async function reply(...messages: Message[]): Promise<string> {
  const response = await post({ model: "demo", messages });
  expect(response.status).toBe(200);
  const text: string = (await json(response)).choices[0].message.content;
  expect(text.startsWith(`${INTRODUCTION} `), text).toBe(true);
  return text.slice(INTRODUCTION.length + 1);
}

describe("the demo model", () => {
  it("is ready, and has one model", async () => {
    expect(await (await fetch(`${origin}/healthz`)).json()).toEqual({ status: "ok" });
    const models = await (await fetch(`${origin}/v1/models`)).json();
    expect(models).toEqual({
      object: "list",
      data: [{ id: "demo", object: "model", created: 0, owned_by: "bailiwick" }],
    });
  });

  it("says what it is, and what it was told", async () => {
    const response = await post({ model: "demo", messages: [user("say hello")] });
    expect(await json(response)).toMatchObject({
      object: "chat.completion",
      model: "demo",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: `${INTRODUCTION} you said: "say hello"` },
          finish_reason: "stop",
        },
      ],
      usage: { prompt_tokens: 3, completion_tokens: 23, total_tokens: 26 },
    });
  });

  it.each([
    [true, 1],
    [false, 0],
    [undefined, 0],
  ])("streams the same, with usage when include_usage is %s", async (include_usage, usages) => {
    const stream_options = include_usage === undefined ? undefined : { include_usage };
    const response = await post({ model: "demo", stream: true, stream_options, messages: [user("say  hello\nto me")] });
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    const events = (await response.text()).split("\n\n").filter((event) => event !== "");
    expect(events.every((event) => event.startsWith("data: "))).toBe(true);
    expect(events.at(-1)).toBe("data: [DONE]");
    const chunks = events.slice(0, -1).map((event) => JSON.parse(event.slice("data: ".length)));
    expect(new Set(chunks.map((chunk) => chunk.id)).size).toBe(1);
    expect(chunks[0].choices[0].delta).toEqual({ role: "assistant", content: "" });
    const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
    expect(text).toBe(`${INTRODUCTION} you said: "say  hello\nto me"`);
    const finishes = chunks.flatMap((chunk) => chunk.choices[0]?.finish_reason ?? []);
    expect(finishes).toEqual(["stop"]);
    expect(chunks.filter((chunk) => chunk.usage !== undefined)).toHaveLength(usages);
    if (usages === 1) expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 4 } });
  });

  it("remembers within a conversation, and nothing from one request to the next", async () => {
    const conversation = [user("remember: the launch is on Friday")];
    expect(await reply(...conversation)).toBe("noted: the launch is on Friday");
    conversation.push({ role: "assistant", content: "noted" }, user("hello"), user("Remember: Ada likes tea"));
    expect(await reply(...conversation, user("what did I tell you?"))).toBe(
      "you told me: the launch is on Friday; Ada likes tea",
    );
    expect(await reply(user("What did I tell you"))).toContain("you told me nothing to remember");
  });

  it("takes facts from the user's messages alone", async () => {
    const messages = [
      { role: "system", content: "remember: a system prompt" },
      { role: "assistant", content: "remember: an answer" },
      user("what did I tell you?"),
    ];
    expect(await reply(...messages)).toContain("nothing to remember");
  });

  it("reads content in parts, and a request as large as OpenClaw's", async () => {
    const parts = [
      { type: "text", text: "say" },
      { type: "image_url", image_url: { url: "data:image/png;base64,AA==" } },
      { type: "text", text: "hello" },
    ];
    const tools = Array.from({ length: 25 }, (_, i) => ({
      type: "function",
      function: { name: `tool_${i}`, description: "x".repeat(1200), parameters: { type: "object", properties: {} } },
    }));
    const request = {
      model: "demo",
      max_completion_tokens: 4096,
      store: false,
      tools,
      tool_choice: "auto",
      messages: [{ role: "system", content: "y".repeat(15_000) }, user(parts)],
    };
    expect(JSON.stringify(request).length).toBeGreaterThan(45_000);
    const answer = await json(await post(request));
    expect(answer.choices[0].message.content).toBe(`${INTRODUCTION} you said: "say\nhello"`);
    expect(answer.choices[0].message.tool_calls).toBeUndefined();
  });

  it.each([
    ["a time stamp", "[Sun 2026-11-22 10:00 UTC] say hello"],
    ["a channel and a time stamp", "[Telegram Ada id:1 +5s 2026-11-22 10:00 UTC] say hello"],
    [
      "metadata blocks",
      'Conversation info (untrusted metadata):\n```json\n{\n  "message_id": "1"\n}\n```\n\nSender (untrusted metadata):\n```json\n{"label": "x"}\n```\n\n[Sun 2026-11-22 10:00 GMT+8] say hello',
    ],
    ["a time stamp before them", "[Sun 2026-11-22 10:00] Sender (untrusted metadata):\n```json\n{}\n```\n\nsay hello"],
    ["a message id", "say hello\n[message_id: abc-123]"],
    [
      "earlier messages",
      "[Chat messages since your last reply - for context]\nUser: remember: x\nAssistant: noted\n\n[Current message - respond to this]\nUser: say hello",
    ],
  ])("answers what the user wrote, without %s", async (_, content) => {
    expect(await reply(user(content))).toBe('you said: "say hello"');
  });

  it("leaves brackets alone that the user wrote", async () => {
    expect(await reply(user("[draft] say hello"))).toBe('you said: "[draft] say hello"');
    expect(await reply(user(""))).toBe('you said: ""');
    expect(await reply(user("z".repeat(2000)))).toBe(`you said: "${"z".repeat(500)}…"`);
  });

  it.each([
    ["no JSON", "{", 400],
    ["no messages", { model: "demo", messages: [] }, 400],
    ["another model", { model: "gpt-5.6", messages: [user("x")] }, 404],
    ["a body over 8 MiB", { model: "demo", messages: [user("x".repeat(9_000_000))] }, 413],
  ])("refuses %s in OpenAI's format", async (_, body, status) => {
    const response = await post(body);
    expect(response.status).toBe(status);
    expect((await json(response)).error.message).toMatch(/^bailiwick demo model: /);
  });

  it("has no other path", async () => {
    expect((await fetch(`${origin}/v1/embeddings`, { method: "POST" })).status).toBe(404);
    expect((await fetch(`${origin}/v1/chat/completions`)).status).toBe(404);
  });

  it("says what is wrong with its port", async () => {
    for (const port of ["", "0", "70000", "x"]) {
      const other = spawn(process.execPath, [bundle], {
        env: { BAILIWICK_PORT: port },
        stdio: ["ignore", "ignore", "pipe"],
      });
      let problem = "";
      other.stderr.on("data", (chunk) => {
        problem += chunk;
      });
      expect(await once(other, "close")).toEqual([1, null]);
      expect(problem).toBe(`demo-model: received BAILIWICK_PORT=${port}; set it to a port, 1 to 65535\n`);
    }
  });

  it("ends at SIGTERM with exit status 0", async () => {
    child?.kill("SIGTERM");
    expect(child && (await once(child, "close"))).toEqual([0, null]);
  });
});
