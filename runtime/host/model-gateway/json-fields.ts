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

/** The bytes of a value, `[start, end)`. */
type Span = readonly [start: number, end: number];

/** Fields at the top of a JSON object: decoded key to the bytes of its value. */
export interface JsonFields extends ReadonlyMap<string, Span> {
  /** How often each of the watched words is a whole string, key or value, anywhere in the document. */
  readonly words: ReadonlyMap<string, number>;
  /** Whether a plain letter (or `_`) is written as an escape somewhere: then a watched word may be there and not be counted. */
  readonly hides: boolean;
}

/** Words to look for while a document is read anyway: of bytes that are ASCII, 1 to 31 of them. */
export class WatchedWords {
  readonly #words: ReadonlySet<string>;
  /** By length and first byte, whether any word begins so: of most strings nothing else is looked at. */
  readonly #begins = new Uint8Array(32 * 256);

  constructor(words: readonly string[]) {
    this.#words = new Set(words);
    for (const word of words) this.#begins[word.length * 256 + word.charCodeAt(0)] = 1;
  }

  /** The word that these bytes are; undefined if they are none. */
  at(bytes: Buffer, start: number, end: number): string | undefined {
    const length = end - start;
    if (length > 31 || this.#begins[length * 256 + (bytes[start] ?? 0)] === 0) return undefined;
    const text = bytes.toString("latin1", start, end);
    return this.#words.has(text) ? text : undefined;
  }
}

class Fields extends Map<string, Span> implements JsonFields {
  readonly words = new Map<string, number>();
  hides = false;
}

const NONE = new WatchedWords([]);

const [QUOTE, BACKSLASH, COMMA, COLON] = [0x22, 0x5c, 0x2c, 0x3a];
const [OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET] = [0x7b, 0x7d, 0x5b, 0x5d];

/**
 * The top-level fields of a strictly valid (RFC 8259, UTF-8) JSON object. The bytes are passed on as they are, so a body
 * that two parsers could read differently is refused: a top-level key that occurs twice, also in another letter case
 * (Go matches keys without regard to case) or written with escapes. Nothing is materialised: memory does not grow with
 * what a body would unfold to.
 * @throws JsonError
 */
export function jsonFields(body: Buffer, watched: WatchedWords = NONE): JsonFields {
  if (!isUtf8(body)) throw new JsonError("it is not valid UTF-8");
  const fields = new Fields();
  const scan = new Scanner(body, watched, fields);
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
export function scalar(body: Buffer, fields: JsonFields, key: string): string | number | boolean | null | undefined {
  const span = fields.get(key);
  if (span === undefined) return undefined;
  const [start, end] = span;
  const first = body[start];
  if (first === OPEN_BRACE || first === OPEN_BRACKET || end - start > MAX_SCALAR) return undefined;
  return JSON.parse(body.toString("utf8", start, end));
}

type Expected = "value" | "value or ]" | "key" | "key or }" | ", or end";

class Scanner {
  readonly #bytes: Buffer;
  readonly #watched: WatchedWords;
  readonly #found: Fields;
  #at = 0;

  constructor(bytes: Buffer, watched: WatchedWords, found: Fields) {
    this.#bytes = bytes;
    this.#watched = watched;
    this.#found = found;
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
          key = JSON.parse(bytes.toString("utf8", keyStart, keyEnd));
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
    const start = this.#at;
    let at = start;
    for (;;) {
      const byte = bytes[at];
      if (byte === undefined || byte < 0x20) {
        this.#at = at;
        this.#unexpected();
      }
      at++;
      if (byte === QUOTE) break;
      if (byte === BACKSLASH) {
        this.#at = at;
        this.#escape();
        at = this.#at;
      }
    }
    this.#at = at;
    const word = this.#watched.at(bytes, start, at - 1);
    if (word !== undefined) this.#found.words.set(word, (this.#found.words.get(word) ?? 0) + 1);
  }

  #escape(): void {
    const letter = String.fromCharCode(this.#bytes[this.#at] ?? 0);
    this.#at++;
    if (letter !== "u") {
      if (!'"\\/bfnrt'.includes(letter)) this.#unexpected();
      return;
    }
    const hex = this.#bytes.toString("latin1", this.#at, this.#at + 4);
    if (!/^[0-9A-Fa-f]{4}$/.test(hex)) this.#unexpected();
    // of the punctuation only _ stands in words that are watched; < > & are written so by some clients
    if (/^00[4-7]/.test(hex)) this.#found.hides = true;
    this.#at += 4;
  }

  /** A number, true, false or null. */
  #word(): void {
    const start = this.#at;
    // 64 bytes are more than any number needs; a longer one is refused rather than read with doubt
    const text = this.#bytes.toString("latin1", start, start + 65);
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
