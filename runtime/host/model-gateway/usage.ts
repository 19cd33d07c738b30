import type { ProviderKind } from "../../policy/models/schema.ts";
import { NANOS, type Tokens } from "./price.ts";
import type { Endpoint } from "./routes.ts";

type Usage = NonNullable<Endpoint["usage"]>;

/** What a provider says a call used. */
export interface Used {
  readonly tokens: Tokens;
  /** What it says it charges, nanodollars; null where it does not say. */
  readonly charged: number | null;
}

type Fields = Readonly<Record<string, unknown>>;

/**
 * The usage as the provider of that format writes it; null if it is absent or cannot be true (negative, no number, a part
 * larger than its whole): then what was reserved stands.
 */
export function readUsage(provider: ProviderKind, usage: Usage, value: unknown): Used | null {
  if (!isFields(value)) return null;
  try {
    const tokens = readers[usage](value);
    const cost = provider === "openrouter" ? value.cost : undefined;
    const charged = typeof cost === "number" && Number.isFinite(cost) && cost >= 0 ? Math.ceil(cost * NANOS) : null;
    return { tokens, charged };
  } catch (error) {
    if (error instanceof NoUsage) return null;
    throw error;
  }
}

class NoUsage extends Error {}

const readers: Readonly<Record<Usage, (usage: Fields) => Tokens>> = {
  chat: (usage) => openai(usage, "prompt_tokens", "completion_tokens"),
  responses: (usage) => openai(usage, "input_tokens", "output_tokens"),
  embeddings: (usage) => ({ ...NONE, input: count(usage, "prompt_tokens") }),
  messages: (usage) => {
    const write = optional(usage, "cache_creation_input_tokens");
    const cacheWrite1h = Math.min(write, optional(part(usage, "cache_creation"), "ephemeral_1h_input_tokens"));
    return {
      input: count(usage, "input_tokens"),
      cacheRead: optional(usage, "cache_read_input_tokens"),
      cacheWrite: write - cacheWrite1h,
      cacheWrite1h,
      output: count(usage, "output_tokens"),
    };
  },
  generate: (usage) => {
    const prompt = count(usage, "promptTokenCount") + optional(usage, "toolUsePromptTokenCount");
    const cacheRead = optional(usage, "cachedContentTokenCount");
    // Google leaves the counts that are 0 out
    const output = optional(usage, "candidatesTokenCount") + optional(usage, "thoughtsTokenCount");
    return { ...NONE, input: rest(prompt, cacheRead), cacheRead, output };
  },
};

const NONE: Tokens = { input: 0, cacheRead: 0, cacheWrite: 0, cacheWrite1h: 0, output: 0 };

function openai(usage: Fields, input: string, output: string): Tokens {
  const details = part(usage, `${input}_details`);
  const cacheRead = optional(details, "cached_tokens");
  const cacheWrite = optional(details, "cache_write_tokens");
  const whole = count(usage, input);
  return { ...NONE, input: rest(whole, cacheRead + cacheWrite), cacheRead, cacheWrite, output: count(usage, output) };
}

function rest(whole: number, part: number): number {
  if (part > whole) throw new NoUsage();
  return whole - part;
}

function count(usage: Fields, name: string): number {
  const number = usage[name];
  if (typeof number !== "number" || !Number.isInteger(number) || number < 0 || number > 1e12) throw new NoUsage();
  return number;
}

function optional(usage: Fields, name: string): number {
  return usage[name] === undefined || usage[name] === null ? 0 : count(usage, name);
}

function part(usage: Fields, name: string): Fields {
  const value = usage[name];
  return isFields(value) ? value : {};
}

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
