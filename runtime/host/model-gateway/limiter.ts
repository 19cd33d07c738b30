import type { CallLimits } from "../../policy/models/schema.ts";
import { Refused } from "./refusal.ts";

const MINUTE = 60_000;

/** What one agent has asked of one provider of late. */
interface Use {
  requests: Bucket;
  tokens: Bucket;
  open: number;
}

/** Fills evenly, to what a minute brings; may be overdrawn. */
class Bucket {
  #level: number;
  #at: number;
  #perMinute: number;

  constructor(perMinute: number, now: number) {
    this.#level = perMinute;
    this.#perMinute = perMinute;
    this.#at = now;
  }

  /** When there will be at least one; `now` if there is. */
  readyAt(perMinute: number, now: number): number {
    this.#level = Math.min(perMinute, this.#level + (Math.max(0, now - this.#at) / MINUTE) * this.#perMinute);
    this.#at = now;
    this.#perMinute = perMinute;
    return this.#level >= 1 ? now : now + ((1 - this.#level) / perMinute) * MINUTE;
  }

  take(count: number): void {
    this.#level -= count;
  }
}

/** Holds each grant's calls and tokens per minute and calls at once. State is kept over a reload. */
export class Limiter {
  readonly #uses = new Map<string, Use>();
  readonly #now: () => number;

  /** @param now ms since 1970 */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Calls under way, all of them. */
  get open(): number {
    let open = 0;
    for (const use of this.#uses.values()) open += use.open;
    return open;
  }

  /**
   * Counts a call that begins.
   * @returns what to call once when it has ended, with its tokens
   * @throws Refused with 429
   */
  enter(agent: string, route: string, limits: CallLimits): (tokens: number) => void {
    const now = this.#now();
    const use = this.#use(`${agent}/${route}`, limits, now);
    const { requestsPerMinute, tokensPerMinute, concurrentCalls } = limits;
    if (concurrentCalls !== null && use.open >= concurrentCalls)
      throw new Refused(
        429,
        "rate_limited",
        `${use.open} calls are under way, and the limit is ${concurrentCalls} at once; wait for one to end`,
        now + 1000,
      );
    if (requestsPerMinute !== null) admitted(use.requests, requestsPerMinute, "calls", now);
    if (tokensPerMinute !== null) admitted(use.tokens, tokensPerMinute, "tokens", now);
    if (requestsPerMinute !== null) use.requests.take(1);
    use.open++;
    let left = false;
    return (tokens) => {
      if (left) return;
      left = true;
      use.open--;
      if (tokensPerMinute !== null) use.tokens.take(tokens);
    };
  }

  #use(key: string, { requestsPerMinute, tokensPerMinute }: CallLimits, now: number): Use {
    const known = this.#uses.get(key);
    if (known !== undefined) return known;
    const use = {
      requests: new Bucket(requestsPerMinute ?? 0, now),
      tokens: new Bucket(tokensPerMinute ?? 0, now),
      open: 0,
    };
    this.#uses.set(key, use);
    return use;
  }
}

function admitted(bucket: Bucket, perMinute: number, what: string, now: number): void {
  const readyAt = bucket.readyAt(perMinute, now);
  if (readyAt > now)
    throw new Refused(429, "rate_limited", `the limit of ${perMinute} ${what} per minute is reached; wait`, readyAt);
}
