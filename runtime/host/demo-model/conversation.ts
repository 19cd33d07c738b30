import * as z from "zod";

/** What the demo model reads of a chat completion request; all else is ignored. */
export const ChatRequest = z.object({
  model: z.string(),
  messages: z.array(z.object({ role: z.string(), content: z.unknown() })).min(1),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
});
export type ChatRequest = z.infer<typeof ChatRequest>;

const TextPart = z.object({ type: z.enum(["text", "input_text"]), text: z.string() });

/** What the user wrote, oldest first, without what an agent runtime puts around it. */
export function userTexts(messages: ChatRequest["messages"]): string[] {
  return messages.filter((m) => m.role === "user").map((m) => withoutEnvelope(plainText(m.content)));
}

/** The text of a message's content: a string, or the text parts of an array. */
export function plainText(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content
    .flatMap((part) => {
      const text = TextPart.safeParse(part);
      return text.success ? [text.data.text] : [];
    })
    .join("\n");
}

const CURRENT_MESSAGE = "[Current message - respond to this]";
/** `Sender (untrusted metadata):` and a fenced JSON block. */
const METADATA_BLOCK = /^[^\n]{1,80}\(untrusted[^\n)]*\):\n```json\n[\s\S]*?\n```\s*/;
/** `[Sun 2026-11-22 10:00 UTC] `, `[Telegram Ada id:1 +5s 2026-11-22 10:00] `: brackets that hold a date. */
const DATED_PREFIX = /^\[[^\]\n]*\d{4}-\d{2}-\d{2}[^\]\n]*\]\s*/;
const MESSAGE_ID_LINE = /\n\[message_id: [^\]\n]*\]\s*$/;
/** `Runtime: agent=main | session=… | model=…`, a last paragraph of one line. */
const RUNTIME_LINE = /\n\nRuntime: agent=[^\n]*$/;

/** The message itself, without OpenClaw's history, metadata blocks, time stamps, message ids and runtime line. */
function withoutEnvelope(text: string): string {
  const current = text.lastIndexOf(CURRENT_MESSAGE);
  let rest = (current === -1 ? text : text.slice(current + CURRENT_MESSAGE.length)).trim();
  for (let before = ""; before !== rest; ) {
    before = rest;
    for (const part of [METADATA_BLOCK, DATED_PREFIX, MESSAGE_ID_LINE, RUNTIME_LINE]) rest = rest.replace(part, "");
    rest = rest.trim();
  }
  return current === -1 ? rest : rest.replace(/^User: /, "");
}
