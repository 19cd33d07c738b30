import type { ModelPrice } from "../../policy/models/schema.ts";

/** Tokens of one call, each counted once: `input` is what neither came from a cache nor went into one. */
export interface Tokens {
  readonly input: number;
  readonly cacheRead: number;
  readonly cacheWrite: number;
  readonly cacheWrite1h: number;
  /** Reasoning among them. */
  readonly output: number;
}

/** Money is counted in whole nanodollars: 1 USD per million tokens is 1000 of them per token, and sums are exact. */
export const NANOS = 1_000_000_000;

/** USD as the ledger counts it, up. */
export function nanos(usd: number): number {
  return Math.ceil(usd * NANOS - 1e-6);
}

/** Nanodollars as USD, for logs and reports. */
export function usd(amount: number): number {
  return amount / NANOS;
}

/** What these tokens cost, nanodollars, up. */
export function cost(price: ModelPrice, tokens: Tokens): number {
  const all = tokens.input + tokens.cacheRead + tokens.cacheWrite + tokens.cacheWrite1h;
  const rates = price.above !== null && all > price.above.inputTokens ? price.above : price;
  const usdPerMillion =
    tokens.input * rates.input +
    tokens.cacheRead * rates.cacheRead +
    tokens.cacheWrite * rates.cacheWrite +
    tokens.cacheWrite1h * rates.cacheWrite1h +
    tokens.output * rates.output;
  return Math.ceil(usdPerMillion * 1000 - 1e-6);
}

/**
 * The most that a call of so many tokens can cost, nanodollars.
 * @param cached whether the provider may write its cache, and charge for that more than for input
 */
export function worstCost(price: ModelPrice, inputTokens: number, outputTokens: number, cached: boolean): number {
  const worst = (rates: Omit<ModelPrice, "above" | "contextTokens">) => {
    const input = cached ? Math.max(rates.input, rates.cacheRead, rates.cacheWrite, rates.cacheWrite1h) : rates.input;
    return Math.ceil((inputTokens * input + outputTokens * rates.output) * 1000);
  };
  if (price.above === null || inputTokens <= price.above.inputTokens) return worst(price);
  return Math.max(worst(price), worst(price.above));
}
