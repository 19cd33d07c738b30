import { randomUUID } from "node:crypto";

/** The one model id of the demo provider. */
export const DEMO_MODEL = "demo";

/** Token counts of the format; the script has no tokens and counts four characters as one. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

export function usageOf(promptCharacters: number, completionCharacters: number): Usage {
  const prompt_tokens = Math.ceil(promptCharacters / 4);
  const completion_tokens = Math.ceil(completionCharacters / 4);
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
}

function head(object: string) {
  return { id: `chatcmpl-${randomUUID()}`, object, created: Math.floor(Date.now() / 1000), model: DEMO_MODEL };
}

/** The whole answer as one `chat.completion`. */
export function completion(text: string, usage: Usage): string {
  return JSON.stringify({
    ...head("chat.completion"),
    choices: [{ index: 0, message: { role: "assistant", content: text }, logprobs: null, finish_reason: "stop" }],
    usage,
  });
}

/** The same as server-sent events, a word at a time: role, words, finish, usage if asked for, `[DONE]`. */
export function completionEvents(text: string, usage: Usage | undefined): string[] {
  const base = head("chat.completion.chunk");
  const chunk = (delta: object, finish: "stop" | null) =>
    event({ ...base, choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }] });
  const words = text.match(/\s*\S+/g) ?? [];
  return [
    chunk({ role: "assistant", content: "" }, null),
    ...words.map((word) => chunk({ content: word }, null)),
    chunk({}, "stop"),
    ...(usage === undefined ? [] : [event({ ...base, choices: [], usage })]),
    "data: [DONE]\n\n",
  ];
}

function event(value: object): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}
