import type { Behaviour } from "./test-upstream.ts";

// What the providers answer, as their documentation and clients have it: text and tool calls, whole and streamed.

const sse = (events: readonly object[], named = false) =>
  events.map(
    (event) => `${named ? `event: ${(event as { type: string }).type}\n` : ""}data: ${JSON.stringify(event)}\n\n`,
  );

const call = { id: "call_1", type: "function", function: { name: "weather", arguments: '{"city":"Köln"}' } };
const chatUsage = {
  ...{ prompt_tokens: 21, completion_tokens: 12, total_tokens: 33 },
  ...{ prompt_tokens_details: { cached_tokens: 8 }, completion_tokens_details: { reasoning_tokens: 4 } },
};
const chat = { id: "chatcmpl-1", created: 1764150000, model: "gpt-5.6" };
const CHAT = {
  ...{ ...chat, object: "chat.completion" },
  choices: [
    { index: 0, message: { role: "assistant", content: "Grüße 👋", tool_calls: [call] }, finish_reason: "tool_calls" },
  ],
  usage: chatUsage,
};
const chunk = (delta: object, finish_reason: string | null = null) => ({
  ...{ ...chat, object: "chat.completion.chunk", usage: null },
  choices: [{ index: 0, delta, finish_reason }],
});
const CHAT_STREAM = [
  ...sse([
    chunk({ role: "assistant", content: "" }),
    chunk({ content: "Grüße " }),
    chunk({ content: "👋" }),
    chunk({ tool_calls: [{ index: 0, ...call, function: { name: "weather", arguments: "" } }] }),
    chunk({ tool_calls: [{ index: 0, function: { arguments: '{"city":' } }] }),
    chunk({ tool_calls: [{ index: 0, function: { arguments: '"Köln"}' } }] }),
    chunk({}, "tool_calls"),
  ]),
];
const CHAT_USAGE = sse([{ ...chat, object: "chat.completion.chunk", choices: [], usage: chatUsage }]);

const responsesUsage = {
  ...{ input_tokens: 21, output_tokens: 12, total_tokens: 33 },
  ...{ input_tokens_details: { cached_tokens: 8 }, output_tokens_details: { reasoning_tokens: 4 } },
};
const message = {
  ...{ type: "message", id: "msg_1", status: "completed", role: "assistant" },
  content: [{ type: "output_text", text: "Grüße 👋", annotations: [] }],
};
const functionCall = {
  ...{ type: "function_call", id: "fc_1", call_id: "call_1", name: "weather", status: "completed" },
  arguments: '{"city":"Köln"}',
};
const RESPONSE = {
  ...{ id: "resp_1", object: "response", created_at: 1764150000, status: "completed", model: "gpt-5.6", error: null },
  ...{
    output: [message, functionCall],
    usage: responsesUsage,
    tools: [],
    tool_choice: "auto",
    parallel_tool_calls: true,
  },
};
const RESPONSE_STREAM = sse(
  [
    {
      type: "response.created",
      sequence_number: 0,
      response: { ...RESPONSE, status: "in_progress", output: [], usage: null },
    },
    { type: "response.output_item.added", sequence_number: 1, output_index: 0, item: { ...message, content: [] } },
    {
      ...{
        type: "response.content_part.added",
        sequence_number: 2,
        item_id: "msg_1",
        output_index: 0,
        content_index: 0,
      },
      part: { type: "output_text", text: "", annotations: [] },
    },
    {
      ...{
        type: "response.output_text.delta",
        sequence_number: 3,
        item_id: "msg_1",
        output_index: 0,
        content_index: 0,
      },
      delta: "Grüße 👋",
    },
    { type: "response.output_item.done", sequence_number: 4, output_index: 0, item: message },
    { type: "response.completed", sequence_number: 5, response: RESPONSE },
  ],
  true,
);

const EMBEDDINGS = {
  ...{ object: "list", model: "gpt-5.6", usage: { prompt_tokens: 5, total_tokens: 5 } },
  data: [{ object: "embedding", index: 0, embedding: [0.25, -0.5, 1] }],
};

const MESSAGE = {
  ...{ id: "msg_1", type: "message", role: "assistant", model: "claude-sonnet-4-6" },
  content: [
    { type: "text", text: "Grüße 👋" },
    { type: "tool_use", id: "toolu_1", name: "weather", input: { city: "Köln" } },
  ],
  ...{ stop_reason: "tool_use", stop_sequence: null },
  usage: { input_tokens: 13, cache_creation_input_tokens: 0, cache_read_input_tokens: 8, output_tokens: 12 },
};
const MESSAGE_STREAM = sse(
  [
    {
      type: "message_start",
      message: { ...MESSAGE, content: [], stop_reason: null, usage: { ...MESSAGE.usage, output_tokens: 1 } },
    },
    { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
    { type: "ping" },
    { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "Grüße " } },
    { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "👋" } },
    { type: "content_block_stop", index: 0 },
    {
      ...{ type: "content_block_start", index: 1 },
      content_block: { type: "tool_use", id: "toolu_1", name: "weather", input: {} },
    },
    { type: "content_block_delta", index: 1, delta: { type: "input_json_delta", partial_json: '{"city":' } },
    { type: "content_block_delta", index: 1, delta: { type: "input_json_delta", partial_json: '"Köln"}' } },
    { type: "content_block_stop", index: 1 },
    { type: "message_delta", delta: { stop_reason: "tool_use", stop_sequence: null }, usage: { output_tokens: 12 } },
    { type: "message_stop" },
  ],
  true,
);

const content = (parts: object[], more: object = {}) => ({
  ...{ modelVersion: "gemini-3-pro", responseId: "r1" },
  candidates: [{ index: 0, content: { role: "model", parts }, ...more }],
  usageMetadata: {
    ...{ promptTokenCount: 21, cachedContentTokenCount: 8, candidatesTokenCount: 8, thoughtsTokenCount: 4 },
    totalTokenCount: 33,
  },
});
const tool = { functionCall: { name: "weather", args: { city: "Köln" } } };
const GENERATED = content([{ text: "Grüße 👋" }, tool], { finishReason: "STOP" });
const GENERATED_STREAM = sse([
  { ...content([{ text: "Grüße " }]), usageMetadata: { promptTokenCount: 21, totalTokenCount: 21 } },
  content([{ text: "👋" }]),
  content([tool], { finishReason: "STOP" }),
]).map((event) => event.replace("\n\n", "\r\n\r\n"));

/** Everything that was sent down, by request. */
export const sent: Buffer[] = [];

/** Answers as the provider of the path does. Streams come in pieces that no border of an event or letter lies between. */
export const faithful: Behaviour = (received, res) => {
  const body = received.body.toString();
  const streamed = /"stream":true/.test(body) || received.url.includes("stream");
  const [whole, events] = answers(received.url, /"include_usage":true/.test(body));
  const bytes = Buffer.from(streamed ? events.join("") : `${JSON.stringify(whole, null, 1)}\n`);
  sent.push(bytes);
  res.writeHead(200, {
    "content-type": streamed ? "text/event-stream; charset=utf-8" : "application/json",
    ...(streamed ? {} : { "content-length": bytes.length }),
    "x-request-id": "req_1",
  });
  if (!streamed) {
    res.end(bytes);
    return;
  }
  let at = 0;
  const step = () => {
    if (res.destroyed) return;
    if (at >= bytes.length) {
      res.end();
      return;
    }
    res.write(bytes.subarray(at, at + 137));
    at += 137;
    setImmediate(step);
  };
  step();
};

function answers(url: string, usage: boolean): [object, readonly string[]] {
  if (url.includes("count_tokens")) return [{ input_tokens: 21 }, []];
  if (url.includes("/messages")) return [MESSAGE, MESSAGE_STREAM];
  if (url.includes("/responses")) return [RESPONSE, RESPONSE_STREAM];
  if (url.includes("/embeddings")) return [EMBEDDINGS, []];
  if (url.includes("Content")) return [GENERATED, GENERATED_STREAM];
  return [CHAT, [...CHAT_STREAM, ...(usage ? CHAT_USAGE : []), "data: [DONE]\n\n"]];
}
