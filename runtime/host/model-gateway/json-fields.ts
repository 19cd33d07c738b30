import { isUtf8 } from "node:buffer";

/** Deepest nesting accepted; far above any real request, far below what could exhaust memory in some parser. */
const MAX_DEPTH = 512;
/** Most fields accepted at the top of the document. */
const MAX_FIELDS = 256;
/** Longest scalar that `scalar` decodes, bytes. */
const MAX_SCALAR = 1024;

/** Why a body is no acceptable JSON object; the message holds a position, never content. */
export class JsonError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "JsonError";
  }
}

/** Fields at the top of a JSON object: decoded key to the bytes of its value, `[start, end)`. */
export type JsonFields = ReadonlyMap<string, readonly [start: number, end: number]>;

const [QUOTE, BACKSLASH, COMMA, COLON] = [0x22, 0x5c, 0x2c, 0x3a];
const [OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET] = [0x7b, 0x7d, 0x5b, 0x5d];

/**
 * The top-level fields of a strictly valid (RFC 8259, UTF-8) JSON object. The bytes are passed on as they are, so a body
 * that two parsers could read differently is refused: a top-level key that occurs twice, also in another letter case
 * (Go matches keys without regard to case) or written with escapes. Nothing is materialised: memory does not grow with
 * what a body would unfold to.
 * @throws JsonError
 */
export function jsonFields(body: Uint8Array): JsonFields {
  if (!isUtf8(body)) throw new JsonError("it is not valid UTF-8");
  const scan = new Scanner(body);
  const fields = new Map<string, readonly [number, number]>();
  const folded = new Set<string>();
  scan.object((key, start, end) => {
    const fold = key.toLowerCase();
    if (folded.has(fold)) throw new JsonError("a top-level key occurs twice (letter case does not count)");
    if (folded.size === MAX_FIELDS) throw new JsonError(`it has more than ${MAX_FIELDS} top-level keys`);
    folded.add(fold);
    fields.set(key, [start, end]);
  });
  return fields;
}

/** The value of a field if it is a string, number, boolean or null of at most 1 KiB; undefined if absent or anything else. */
export function scalar(
  body: Uint8Array,
  fields: JsonFields,
  key: string,
): string | number | boolean | null | undefined {
  const span = fields.get(key);
  if (span === undefined) return undefined;
  const [start, end] = span;
  const first = body[start];
  if (first === OPEN_BRACE || first === OPEN_BRACKET || end - start > MAX_SCALAR) return undefined;
  return JSON.parse(Buffer.from(body.subarray(start, end)).toString("utf8"));
}

type Expected = "value" | "value or ]" | "key" | "key or }" | ", or end";

class Scanner {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Reads the whole document, which must be an object; `field` is called for each of its own keys once its value has been read. */
  object(field: (key: string, start: number, end: number) => void): void {
    const bytes = this.#bytes;
    const isObject: boolean[] = [];
    let expected: Expected = "value";
    let key = "";
    let valueStart = 0;
    this.#space();
    if (bytes[this.#at] !== OPEN_BRACE) throw new JsonError("it is not a JSON object");
    for (;;) {
      this.#space();
      const byte = bytes[this.#at];
      if (expected === "value or ]" || expected === "key or }") {
        if (byte === (expected === "key or }" ? CLOSE_BRACE : CLOSE_BRACKET)) {
          this.#at++;
          isObject.pop();
          expected = ", or end";
        } else expected = expected === "key or }" ? "key" : "value";
      } else if (expected === "key") {
        const keyStart = this.#at;
        this.#string();
        const keyEnd = this.#at;
        this.#space();
        this.#byte(COLON);
        this.#space();
        if (isObject.length === 1) {
          key = JSON.parse(Buffer.from(bytes.subarray(keyStart, keyEnd)).toString("utf8"));
          valueStart = this.#at;
        }
        expected = "value";
      } else if (expected === "value") {
        if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
          if (isObject.length === MAX_DEPTH) throw new JsonError(`it is nested deeper than ${MAX_DEPTH} levels`);
          isObject.push(byte === OPEN_BRACE);
          this.#at++;
          expected = byte === OPEN_BRACE ? "key or }" : "value or ]";
          continue;
        }
        if (byte === QUOTE) this.#string();
        else this.#word();
        expected = ", or end";
      } else {
        const inObject = isObject.at(-1);
        if (byte === COMMA) expected = inObject ? "key" : "value";
        else {
          if (byte !== (inObject ? CLOSE_BRACE : CLOSE_BRACKET)) this.#unexpected();
          isObject.pop();
        }
        this.#at++;
      }
      if (expected !== ", or end") continue;
      // a value has just ended: that of a top-level field, or the document itself
      if (isObject.length === 1 && valueStart > 0) {
        field(key, valueStart, this.#at);
        valueStart = 0;
      }
      if (isObject.length === 0) break;
    }
    this.#space();
    if (this.#at !== bytes.length) this.#unexpected();
  }

  #space(): void {
    const bytes = this.#bytes;
    for (;;) {
      const byte = bytes[this.#at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.#at++;
    }
  }

  #byte(wanted: number): void {
    if (this.#bytes[this.#at] !== wanted) this.#unexpected();
    this.#at++;
  }

  #string(): void {
    const bytes = this.#bytes;
    this.#byte(QUOTE);
    for (;;) {
      const byte = bytes[this.#at];
      if (byte === undefined || byte < 0x20) this.#unexpected();
      this.#at++;
      if (byte === QUOTE) return;
      if (byte === BACKSLASH) this.#escape();
    }
  }

  #escape(): void {
    const letter = String.fromCharCode(this.#bytes[this.#at] ?? 0);
    this.#at++;
    if (letter !== "u") {
      if (!'"\\/bfnrt'.includes(letter)) this.#unexpected();
      return;
    }
    const hex = Buffer.from(this.#bytes.subarray(this.#at, this.#at + 4)).toString("latin1");
    if (!/^[0-9A-Fa-f]{4}$/.test(hex)) this.#unexpected();
    this.#at += 4;
  }

  /** A number, true, false or null. */
  #word(): void {
    const start = this.#at;
    // 64 bytes are more than any number needs; a longer one is refused rather than read with doubt
    const text = Buffer.from(this.#bytes.subarray(start, start + 65)).toString("latin1");
    const word = /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)/.exec(text)?.[0];
    if (word === undefined || word.length > 64) this.#unexpected();
    this.#at += word.length;
  }

  #unexpected(): never {
    throw new JsonError(
      this.#at >= this.#bytes.length ? "it ends too early" : `it is not valid JSON at byte ${this.#at}`,
    );
  }
}
