const [LF, CR] = [0x0a, 0x0d];
const DATA = Buffer.from("data:");
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);

/**
 * Takes a stream of server-sent events apart, whatever chunks it comes in, as the HTML standard says: lines end in LF, CR
 * or CRLF, an event has one or more lines of data, an empty line ends it. Gives the data alone, as the bytes it came in,
 * a part per line.
 */
export class SseEvents {
  readonly #limit: number;
  readonly #matters: (chunk: Buffer) => boolean;
  readonly #onEvent: (data: readonly Buffer[]) => void;
  #partial: Buffer[] = [];
  #data: Buffer[] = [];
  #size = 0;
  #first = true;
  #afterCr = false;
  #overflowed = false;

  /**
   * @param limit most bytes of one event; with a larger one the stream is given up
   * @param matters whether there may be an event among these bytes that is wanted; a chunk that is whole events, none of
   * them wanted, is not taken apart
   */
  constructor(limit: number, matters: (chunk: Buffer) => boolean, onEvent: (data: readonly Buffer[]) => void) {
    this.#limit = limit;
    this.#matters = matters;
    this.#onEvent = onEvent;
  }

  /** True once an event was larger than the limit; nothing is read any more. */
  get overflowed(): boolean {
    return this.#overflowed;
  }

  push(chunk: Buffer): void {
    if (this.#isWhole(chunk) && !this.#matters(chunk)) {
      this.#first = false;
      return;
    }
    let start = 0;
    // an LF after a CR that ended the chunk before belongs to it
    if (this.#afterCr && chunk[0] === LF) start = 1;
    if (chunk.length > 0) this.#afterCr = false;
    let cr = chunk.indexOf(CR, start);
    let lf = chunk.indexOf(LF, start);
    while (!this.#overflowed && (lf !== -1 || cr !== -1)) {
      const end = cr === -1 || (lf !== -1 && lf < cr) ? lf : cr;
      this.#line(chunk.subarray(start, end));
      start = end + 1;
      if (end === cr) {
        if (start === chunk.length) this.#afterCr = true;
        else if (chunk[start] === LF) start++;
        cr = chunk.indexOf(CR, start);
      }
      if (lf !== -1 && lf < start) lf = chunk.indexOf(LF, start);
    }
    if (start < chunk.length) {
      this.#partial.push(chunk.subarray(start));
      this.#grow(chunk.length - start);
    }
  }

  /** The stream has ended. An event that no empty line ended counts too: clients differ in that. */
  end(): void {
    if (this.#overflowed) return;
    if (this.#partial.length > 0) this.#line(Buffer.alloc(0));
    this.#dispatch();
  }

  /** Whether a chunk begins where an event begins and ends where one ends, in the line ends that providers write. */
  #isWhole(chunk: Buffer): boolean {
    const { length } = chunk;
    if (length > this.#limit || this.#overflowed || this.#afterCr) return false;
    return (
      chunk[length - 1] === LF && chunk[length - 2] === LF && this.#partial.length === 0 && this.#data.length === 0
    );
  }

  #line(rest: Buffer): void {
    let line = rest;
    if (this.#partial.length > 0) {
      line = Buffer.concat([...this.#partial, rest]);
      this.#partial = [];
    }
    if (this.#first) {
      this.#first = false;
      if (line.subarray(0, 3).equals(BOM)) line = line.subarray(3);
    }
    if (line.length === 0) {
      this.#dispatch();
      return;
    }
    if (!line.subarray(0, 5).equals(DATA)) return;
    this.#data.push(line.subarray(line[5] === 0x20 ? 6 : 5));
    this.#grow(rest.length);
  }

  #dispatch(): void {
    this.#size = 0;
    if (this.#data.length === 0) return;
    const data = this.#data;
    this.#data = [];
    this.#onEvent(data);
  }

  #grow(bytes: number): void {
    this.#size += bytes;
    if (this.#size <= this.#limit) return;
    this.#overflowed = true;
    this.#partial = [];
    this.#data = [];
  }
}
