import { calcPrice } from "@pydantic/genai-prices";
import type { ModelPrice, ProviderKind } from "../runtime/policy/models/schema.ts";

/**
 * The day as of which prices are looked up. Fixed, so that a spec is the same whenever it is synthesised; moved with each
 * release of the kit, together with the version of the price list.
 */
const AS_OF = new Date("2026-11-26T00:00:00Z");

/** Names of the price list for the providers whose prices it knows. */
const LISTED: Partial<Record<ProviderKind, string>> = {
  anthropic: "anthropic",
  openai: "openai",
  google: "google",
  openrouter: "openrouter",
};

/** Where the list does not say how much input a model takes. */
const UNKNOWN_CONTEXT = 2_000_000;

type Listed = Record<string, number | { base: number; tiers: { start: number; price: number }[] } | undefined>;

const looked = new Map<string, ModelPrice | undefined>();

/** The list price of a model at its provider's own API; undefined if it is not known. Looked up once for a fleet. */
export function listPrice(provider: ProviderKind, model: string): ModelPrice | undefined {
  const key = `${provider} ${model}`;
  if (!looked.has(key)) looked.set(key, lookUp(provider, model));
  return looked.get(key);
}

function lookUp(provider: ProviderKind, model: string): ModelPrice | undefined {
  const providerId = LISTED[provider];
  if (providerId === undefined) return undefined;
  const found = calcPrice({ input_tokens: 0, output_tokens: 0 }, model, { providerId, timestamp: AS_OF });
  if (found === null) return undefined;
  const listed: Listed = found.model_price;
  const starts = Object.values(listed).flatMap((price) =>
    typeof price === "object" ? price.tiers.map(({ start }) => start) : [],
  );
  if (rate(listed.input_mtok, 0) === undefined) return undefined;
  return {
    ...ratesAt(listed, 0),
    // one step: from the lowest tier on, the highest price of any
    above:
      starts.length === 0
        ? null
        : { inputTokens: Math.max(1, Math.min(...starts)), ...ratesAt(listed, Number.POSITIVE_INFINITY) },
    contextTokens: found.model.context_window ?? UNKNOWN_CONTEXT,
  };
}

function ratesAt(listed: Listed, tokens: number) {
  const input = rate(listed.input_mtok, tokens) ?? 0;
  const cacheWrite = rate(listed.cache_write_mtok, tokens) ?? input;
  return {
    input,
    // a model of embeddings has no output
    output: rate(listed.output_mtok, tokens) ?? 0,
    cacheRead: rate(listed.cache_read_mtok, tokens) ?? input,
    cacheWrite,
    cacheWrite1h: rate(listed.cache_write_1h_mtok, tokens) ?? cacheWrite,
  };
}

function rate(price: Listed[string], tokens: number): number | undefined {
  if (price === undefined || typeof price === "number") return price;
  return Math.max(price.base, ...price.tiers.filter(({ start }) => start <= tokens).map((tier) => tier.price));
}
