/** What one agent uses of the guard at the moment, and whether it may use more. */
export class Rates {
  readonly #perMinute: number;
  readonly #concurrent: number;
  readonly #agents = new Map<string, { tokens: number; at: number; open: number }>();

  constructor(perMinute: number, concurrent: number) {
    this.#perMinute = perMinute;
    this.#concurrent = concurrent;
  }

  /** Counts one request; false if it is one too many. A minute's worth may come at once, then as many as flow back. */
  count(agent: string, now = performance.now()): boolean {
    const entry = this.#of(agent, now);
    entry.tokens = Math.min(this.#perMinute, entry.tokens + ((now - entry.at) * this.#perMinute) / 60_000);
    entry.at = now;
    if (entry.tokens < 1) return false;
    entry.tokens -= 1;
    return true;
  }

  /** Begins a call; undefined if too many are open already. What is returned ends it. */
  begin(agent: string): (() => void) | undefined {
    const entry = this.#of(agent, performance.now());
    if (entry.open >= this.#concurrent) return undefined;
    entry.open += 1;
    return () => {
      entry.open -= 1;
    };
  }

  #of(agent: string, now: number) {
    const known = this.#agents.get(agent);
    if (known !== undefined) return known;
    const entry = { tokens: this.#perMinute, at: now, open: 0 };
    this.#agents.set(agent, entry);
    return entry;
  }
}
