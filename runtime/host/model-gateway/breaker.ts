/** Failures in a row after which a provider is left alone, and for how long, ms. */
const FAILURES = 5;
const PAUSE_MS = 10_000;

/** What is known of a provider's health. */
export interface Health {
  /** Whether calls go to it; false while it is left alone after failures. */
  readonly up: boolean;
  /** Failures since the last success. */
  readonly failures: number;
  /** When the next call is let through to it, ms since 1970; null if all are. */
  readonly retryAt: number | null;
}

/**
 * Leaves a provider alone that has failed again and again: its calls are refused at once instead of each waiting for a
 * timeout. After the pause one call is let through; its end decides for all.
 */
export class Breaker {
  readonly #now: () => number;
  #failures = 0;
  #openUntil = 0;
  #trial = false;

  /** @param now ms since 1970 */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** False from the failure that opened it until a call has succeeded. */
  get isClosed(): boolean {
    return this.#openUntil === 0;
  }

  get health(): Health {
    const up = this.isClosed;
    return { up, failures: this.#failures, retryAt: up ? null : this.#openUntil };
  }

  /** Undefined if a call may be made, which must then be told of by `end`; else when it is worth trying again. */
  begin(): number | undefined {
    if (this.isClosed) return undefined;
    const now = this.#now();
    if (now < this.#openUntil) return this.#openUntil;
    if (this.#trial) return now + 1000;
    this.#trial = true;
    return undefined;
  }

  /** @param success undefined for a call that says nothing about the provider, such as one whose client left */
  end(success: boolean | undefined): void {
    this.#trial = false;
    if (success === undefined) return;
    if (success) {
      this.#failures = 0;
      this.#openUntil = 0;
      return;
    }
    this.#failures++;
    if (this.#failures >= FAILURES) this.#openUntil = this.#now() + PAUSE_MS;
  }
}
