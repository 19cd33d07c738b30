import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import OpenAI from "openai";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { faithful, sent } from "./faithful-upstream.ts";
import { configFor, KEYS, type RunningGateway, startGateway, until } from "./program.ts";
import { startUpstream } from "./test-upstream.ts";

// The providers' own clients, as they are published, through the gateway. What they wrote and read is recorded at their
// side, what arrived and was sent at the provider's.

const upstream = await startUpstream();
upstream.behave(faithful);
const open = await startGateway(configFor(upstream.url));
const capped = await startGateway(withCap());

function withCap() {
  const config = configFor(upstream.url);
  return {
    ...config,
    budgets: { ...config.budgets, caps: [{ scope: "host", usdPerDay: 1, usdPerMonth: 10 }] },
  };
}

interface Exchange {
  readonly up: string;
  readonly down: Buffer[];
}
const exchanges: Exchange[] = [];
const realFetch = globalThis.fetch;

beforeEach(() => {
  upstream.received.length = 0;
  sent.length = 0;
  exchanges.length = 0;
  vi.stubGlobal("fetch", async (input: string | URL | Request, init: RequestInit = {}) => {
    const exchange: Exchange = { up: String(init.body ?? ""), down: [] };
    exchanges.push(exchange);
    const response = await realFetch(input, init);
    const record = new TransformStream<Uint8Array, Uint8Array>({
      transform: (chunk, controller) => {
        exchange.down.push(Buffer.from(chunk));
        controller.enqueue(chunk);
      },
    });
    return new Response(response.body?.pipeThrough(record), response);
  });
});
afterEach(() => vi.unstubAllGlobals());

const IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] } as const;
const host = (gateway: RunningGateway) => `http://127.0.0.1:${gateway.port}`;
const openai = (gateway: RunningGateway) =>
  new OpenAI({ apiKey: KEYS.ops, baseURL: `${host(gateway)}/gpt/v1`, maxRetries: 0 });
const anthropic = (gateway: RunningGateway) =>
  new Anthropic({ apiKey: KEYS.ops, baseURL: `${host(gateway)}/claude`, maxRetries: 0 });
const google = (gateway: RunningGateway) =>
  new GoogleGenAI({ apiKey: KEYS.ops, httpOptions: { baseUrl: `${host(gateway)}/gemini` } });

const chat = {
  model: "gpt-5.6",
  messages: [
    {
      role: "user" as const,
      content: [
        { type: "text" as const, text: "Wie ist das Wetter in Köln? 🌧" },
        { type: "image_url" as const, image_url: { url: `data:image/png;base64,${IMAGE}` } },
      ],
    },
  ],
  tools: [{ type: "function" as const, function: { name: "weather", parameters } }],
};
const message = {
  model: "claude-sonnet-4-6",
  max_tokens: 256,
  messages: [
    {
      role: "user" as const,
      content: [
        { type: "text" as const, text: "Wie ist das Wetter in Köln? 🌧" },
        {
          type: "image" as const,
          source: { type: "base64" as const, media_type: "image/png" as const, data: IMAGE },
        },
      ],
    },
  ],
  tools: [{ name: "weather", input_schema: { ...parameters, required: ["city"] } }],
};
const generate = {
  model: "gemini-3-pro",
  contents: [
    {
      role: "user",
      parts: [{ text: "Wie ist das Wetter? 🌧" }, { inlineData: { mimeType: "image/png", data: IMAGE } }],
    },
  ],
  config: { tools: [{ functionDeclarations: [{ name: "weather", parametersJsonSchema: parameters }] }] },
};

type Talk = (gateway: RunningGateway) => Promise<{ text: string | null | undefined; city: unknown }>;
const cityOf = (json: string | undefined) => (JSON.parse(json ?? "{}") as { city?: unknown }).city;

const talks: [string, Talk][] = [
  [
    "openai chat completions",
    async (gateway) => {
      const { choices } = await openai(gateway).chat.completions.create(chat);
      const call = choices[0]?.message.tool_calls?.[0];
      return {
        text: choices[0]?.message.content,
        city: cityOf(call?.type === "function" ? call.function.arguments : undefined),
      };
    },
  ],
  [
    "openai chat completions, streamed",
    async (gateway) => {
      let [text, json] = ["", ""];
      for await (const { choices } of await openai(gateway).chat.completions.create({ ...chat, stream: true })) {
        text += choices[0]?.delta.content ?? "";
        json += choices[0]?.delta.tool_calls?.[0]?.function?.arguments ?? "";
      }
      return { text, city: cityOf(json) };
    },
  ],
  [
    "openai responses",
    async (gateway) => {
      const response = await openai(gateway).responses.create({ model: "gpt-5.6", input: "Wetter in Köln? 🌧" });
      const call = response.output.find((item) => item.type === "function_call");
      return { text: response.output_text, city: cityOf(call?.arguments) };
    },
  ],
  [
    "openai responses, streamed",
    async (gateway) => {
      const stream = openai(gateway).responses.stream({ model: "gpt-5.6", input: "Wetter in Köln? 🌧" });
      const response = await stream.finalResponse();
      const call = response.output.find((item) => item.type === "function_call");
      return { text: response.output_text, city: cityOf(call?.type === "function_call" ? call.arguments : undefined) };
    },
  ],
  [
    "anthropic messages",
    async (gateway) => {
      const { content } = await anthropic(gateway).messages.create(message);
      return read(content);
    },
  ],
  [
    "anthropic messages, streamed",
    async (gateway) => read((await anthropic(gateway).messages.stream(message).finalMessage()).content),
  ],
  [
    "google generateContent",
    async (gateway) => {
      const { candidates, functionCalls } = await google(gateway).models.generateContent(generate);
      return { text: candidates?.[0]?.content?.parts?.[0]?.text, city: functionCalls?.[0]?.args?.city };
    },
  ],
  [
    "google generateContentStream",
    async (gateway) => {
      let [text, city]: [string, unknown] = ["", undefined];
      for await (const { candidates } of await google(gateway).models.generateContentStream(generate))
        for (const part of candidates?.[0]?.content?.parts ?? []) {
          text += part.text ?? "";
          city ??= part.functionCall?.args?.city;
        }
      return { text, city };
    },
  ],
];

function read(content: Anthropic.ContentBlock[]) {
  const [text, call] = content;
  return {
    text: text?.type === "text" ? text.text : undefined,
    city: call?.type === "tool_use" ? (call.input as { city: unknown }).city : undefined,
  };
}

/** The body without what the gateway says it changes. */
const undeclared = (body: string) =>
  body
    .replace(
      /"(max_completion_tokens|max_output_tokens|maxOutputTokens)":1000,?|"stream_options":\{"include_usage":true\},/g,
      "",
    )
    .replace('"generationConfig":{},', "");

describe("the providers' own clients", () => {
  it.each(talks)("%s: text, tool call and image pass, every byte as it was written, both ways", async (_, talk) => {
    expect(await talk(open)).toEqual({ text: "Grüße 👋", city: "Köln" });
    const [exchange] = exchanges;
    expect(upstream.received).toHaveLength(1);
    expect(upstream.received[0]?.body.toString()).toBe(exchange?.up);
    expect(Buffer.concat(exchange?.down ?? []).equals(sent[0] ?? Buffer.alloc(0))).toBe(true);
  });

  it.each(talks)("%s: under a budget only what is declared is changed, and the usage is booked", async (_, talk) => {
    expect(await talk(capped)).toEqual({ text: "Grüße 👋", city: "Köln" });
    const [exchange] = exchanges;
    expect(undeclared(upstream.received[0]?.body.toString() ?? "")).toBe(exchange?.up);
    expect(Buffer.concat(exchange?.down ?? []).equals(sent[0] ?? Buffer.alloc(0))).toBe(true);
    await until(() => capped.lines().at(-1)?.msg === "call", "the log line");
    const line = capped.lines().at(-1);
    expect(line).toMatchObject({ inputTokens: 21, outputTokens: 12, usdIsReserved: false });
    // 13 tokens of input, 8 from the cache, 12 of output: 133.8 nanodollars, and a started one counts whole
    expect(line?.usd).toBe(134e-9);
  });

  it("list the granted models", async () => {
    const ids = async <T>(page: AsyncIterable<T>, id: (model: T) => unknown) => {
      const found = [];
      for await (const model of page) found.push(id(model));
      return found;
    };
    expect(await ids(await openai(open).models.list(), (m) => m.id)).toEqual(["gpt-5.6", "gpt-5.6-mini"]);
    expect((await openai(open).models.retrieve("gpt-5.6")).id).toBe("gpt-5.6");
    await expect(openai(open).models.retrieve("gpt-7")).rejects.toThrow(OpenAI.NotFoundError);
    expect((await anthropic(open).models.retrieve("claude-sonnet-4-6")).id).toBe("claude-sonnet-4-6");
    expect((await google(open).models.get({ model: "gemini-3-pro" })).name).toBe("models/gemini-3-pro");
    expect(await ids(await anthropic(open).models.list(), (m) => m.id)).toEqual(["claude-sonnet-4-6"]);
    expect(await ids(await google(open).models.list(), (m) => m.name)).toEqual(["models/gemini-3-pro"]);
  });

  it("count tokens and embed", async () => {
    const { max_tokens: _, ...counted } = message;
    expect((await anthropic(open).messages.countTokens(counted)).input_tokens).toBe(21);
    const embedding = await openai(capped).embeddings.create({
      ...{ model: "gpt-5.6", input: "Köln", encoding_format: "float" as const },
    });
    expect(embedding.data[0]?.embedding).toEqual([0.25, -0.5, 1]);
  });

  it("understand what they are refused", async () => {
    await expect(openai(open).chat.completions.create({ ...chat, model: "gpt-9" })).rejects.toThrow(
      OpenAI.PermissionDeniedError,
    );
    await expect(anthropic(open).messages.create({ ...message, model: "claude-9" })).rejects.toThrow(
      Anthropic.PermissionDeniedError,
    );
    const wrong = new OpenAI({ apiKey: "wrong", baseURL: `${host(open)}/gpt/v1` });
    await expect(wrong.models.list()).rejects.toThrow(OpenAI.AuthenticationError);
    await expect(google(open).models.generateContent({ ...generate, model: "gemini-9" })).rejects.toThrow(
      /PERMISSION_DENIED.*|not granted/,
    );
  });

  it("that abort in the middle of a stream end the provider's work", async () => {
    upstream.behave((received, res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      const message = received.url.includes("messages");
      const event = message
        ? { type: "ping" }
        : { id: "1", object: "chat.completion.chunk", choices: [{ index: 0, delta: { content: "x" } }] };
      res.write(`${message ? "event: ping\n" : ""}data: ${JSON.stringify(event)}\n\n`);
    });
    const chats = await openai(open).chat.completions.create({ ...chat, stream: true });
    for await (const _ of chats) break;
    const controller = new AbortController();
    const messages = await anthropic(open).messages.create({ ...message, stream: true }, { signal: controller.signal });
    controller.abort();
    await expect(async () => {
      for await (const _ of messages);
    }).not.toThrow();
    await Promise.all(upstream.received.map(({ closed }) => closed));
    upstream.behave(faithful);
    expect(upstream.received).toHaveLength(2);
  });
});
