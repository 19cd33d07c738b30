/** Reads the length-prefixed fields of SSH's binary formats; every read is checked against what is left. */
export class WireReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The next `length` bytes. @throws if fewer are left */
  take(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length)
      throw new Error(`field of ${length} bytes, but ${this.#bytes.length - this.#at} are left`);
    const field = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return field;
  }

  uint32(): number {
    return this.take(4).readUInt32BE(0);
  }

  /** A `string` of RFC 4251: uint32 length, then that many bytes. */
  string(): Buffer {
    return this.take(this.uint32());
  }

  text(): string {
    return this.string().toString("latin1");
  }

  /** @throws if anything is left */
  end(): void {
    const left = this.#bytes.length - this.#at;
    if (left > 0) throw new Error(`${left} bytes after the last field`);
  }
}

/** A `string` of RFC 4251. */
export function wireString(value: Uint8Array | string): Buffer {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length, 0);
  return Buffer.concat([length, bytes]);
}

/** The bytes of canonical base64 (padded, no white space). @throws if the text is anything else */
export function strictBase64(text: string): Buffer {
  const bytes = Buffer.from(text, "base64");
  if (bytes.toString("base64") !== text) throw new Error("not canonical base64");
  return bytes;
}
