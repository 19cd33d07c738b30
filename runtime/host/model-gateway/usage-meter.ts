import type { ProviderKind } from "../../policy/models/schema.ts";
import type { Endpoint } from "./routes.ts";
import { SseEvents } from "./sse-events.ts";
import { isFields, readUsage, type Used } from "./usage.ts";

type Usage = NonNullable<Endpoint["usage"]>;

/** Largest answer of one JSON document, and largest event, of which usage is read; bytes. A larger one keeps its reservation. */
const MAX_BYTES = 16 * 1024 * 1024;

const WORD = Buffer.from('"usage');
const STOP = Buffer.from('"message_stop"');
const [QUOTE, COLON, SPACE, N] = [0x22, 0x3a, 0x20, 0x6e];

/** Reads off an answer, as it passes, what it used. Changes nothing and never throws. */
export class UsageMeter {
  readonly #provider: ProviderKind;
  readonly #usage: Usage;
  readonly #events: SseEvents | null;
  #chunks: Buffer[] = [];
  #size = 0;
  #last: Used | null = null;
  #lost = false;
  #terminal = false;
  /** Anthropic tells the input at the start and the output at the end: later fields take the place of earlier ones. */
  #merged: Readonly<Record<string, unknown>> = {};

  /** @param stream whether the answer is a stream of events */
  constructor(provider: ProviderKind, usage: Usage, stream: boolean) {
    this.#provider = provider;
    this.#usage = usage;
    const matters = usage === "messages" ? mayMatter : mentionsUsage;
    this.#events = stream ? new SseEvents(MAX_BYTES, matters, (parts) => this.#event(parts)) : null;
  }

  push(chunk: Buffer): void {
    if (this.#events !== null) {
      this.#events.push(chunk);
      return;
    }
    this.#size += chunk.length;
    if (this.#size <= MAX_BYTES) this.#chunks.push(chunk);
    else this.#chunks = [];
  }

  /**
   * What was used, or null if that is not known.
   * @param whole whether the answer ended as it should. One that was cut counts only if its terminal usage had come:
   * before that, numbers are not final
   */
  read(whole: boolean): Used | null {
    if (this.#events !== null) {
      if (whole) this.#events.end();
      if (this.#lost || this.#events.overflowed) return null;
      return whole || this.#terminal ? this.#last : null;
    }
    if (!whole || this.#size > MAX_BYTES) return null;
    const document = parse(Buffer.concat(this.#chunks).toString());
    return isFields(document) ? readUsage(this.#provider, this.#usage, place(this.#usage, document)) : null;
  }

  #event(parts: readonly Buffer[]): void {
    if (!parts.some(this.#usage === "messages" ? mayMatter : mentionsUsage)) return;
    const event = parse(parts.map(String).join("\n"));
    if (!isFields(event)) return;
    if (this.#usage === "messages") this.#anthropic(event);
    else if (this.#usage === "responses") {
      if (!/^response\.(completed|incomplete|failed)$/.test(String(event.type))) return;
      this.#take(isFields(event.response) ? event.response.usage : undefined);
      this.#terminal = true;
    } else {
      const usage = place(this.#usage, event);
      if (usage === undefined || usage === null) return;
      this.#take(usage);
      // of chat completions the chunk that has usage and no choices is the last
      this.#terminal = this.#usage === "chat" && Array.isArray(event.choices) && event.choices.length === 0;
    }
  }

  #anthropic(event: Readonly<Record<string, unknown>>): void {
    if (event.type === "message_stop") {
      this.#terminal = this.#last !== null;
      return;
    }
    const start = event.type === "message_start";
    if (!start && event.type !== "message_delta") return;
    const usage = start ? isFields(event.message) && event.message.usage : event.usage;
    if (!isFields(usage)) return;
    const known = Object.entries(usage).filter(([, value]) => value !== null && value !== undefined);
    this.#merged = { ...this.#merged, ...Object.fromEntries(known) };
    // what stands at the start is no final count
    if (!start) this.#take(this.#merged);
  }

  /** Counts only ever grow; one that does not, or is none, makes all of them doubtful. */
  #take(usage: unknown): void {
    const used = readUsage(this.#provider, this.#usage, usage);
    if (used === null || (this.#last !== null && used.tokens.output < this.#last.tokens.output)) this.#lost = true;
    this.#last = used;
  }
}

function place(usage: Usage, document: Readonly<Record<string, unknown>>): unknown {
  return usage === "generate" ? document.usageMetadata : document.usage;
}

/** Most events say nothing of usage, or `"usage":null`, and need not be parsed. */
function mentionsUsage(bytes: Buffer): boolean {
  for (let at = bytes.indexOf(WORD); at !== -1; at = bytes.indexOf(WORD, at + 1)) {
    const end = at + WORD.length;
    const value = bytes[end + 2] === SPACE ? end + 3 : end + 2;
    if (bytes[end] !== QUOTE || bytes[end + 1] !== COLON || bytes[value] !== N) return true;
  }
  return false;
}

function mayMatter(bytes: Buffer): boolean {
  return mentionsUsage(bytes) || bytes.includes(STOP);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
