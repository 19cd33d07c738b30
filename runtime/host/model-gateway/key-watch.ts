const NOTHING = Buffer.alloc(0);

/**
 * Watches a response body for the provider's key, which no agent may see, whatever chunks it arrives in. Bytes pass
 * unchanged and at once, but for an end of a chunk that could be the beginning of the key: those wait for what follows.
 */
export class KeyWatch {
  readonly #key: Buffer;
  #held: Buffer = NOTHING;

  constructor(key: string) {
    this.#key = Buffer.from(key);
  }

  /** The bytes that may go on, or null if the key is among them. After null the watch must not be used again. */
  pass(chunk: Buffer): Buffer | null {
    const data = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    if (data.includes(this.#key)) return null;
    const held = this.#beginningsAtEnd(data);
    this.#held = held === 0 ? NOTHING : data.subarray(data.length - held);
    return held === 0 ? data : data.subarray(0, data.length - held);
  }

  /** What is still held back when the body has ended: it is not the key. */
  rest(): Buffer {
    return this.#held;
  }

  /** Length of the longest end of `data` that is a beginning of the key. */
  #beginningsAtEnd(data: Buffer): number {
    const key = this.#key;
    for (let n = Math.min(key.length - 1, data.length); n > 0; n--) {
      const start = data.length - n;
      if (data[start] === key[0] && data.compare(key, 0, n, start) === 0) return n;
    }
    return 0;
  }
}
