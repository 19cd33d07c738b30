import type { CommandStream } from "./connection.ts";
import { UnreachableError } from "./errors.ts";

const UNTOLD = "the host ended the program without saying how";

interface Asker {
  readonly answer: (line: string) => void;
  readonly fail: (error: Error) => void;
}

/** A program on the host that answers each line by a line, in order. */
export class LineChannel {
  readonly #stream: CommandStream;
  #waiting: Asker[] = [];
  #text = "";
  #errors = "";
  #ended: Error | undefined;

  constructor(stream: CommandStream) {
    this.#stream = stream;
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => this.#read(text));
    stream.on("error", () => {}); // how it ended is told by `exited`
    stream.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#errors += text;
    });
    let told = false;
    stream.exited.then(
      ({ code, signal }) => {
        told = code !== null || signal !== null;
      },
      (error: Error) => this.#end(error),
    );
    // by then all of stderr is read; a lost connection closes its channels before it says so itself
    stream.on("close", () => setImmediate(() => this.#end(told ? this.#words() : new UnreachableError(UNTOLD))));
  }

  /**
   * @param line without its end
   * @throws UnreachableError if the connection is lost; Error with what the program wrote to stderr if it ended
   */
  ask(line: string): Promise<string> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return new Promise((answer, fail) => {
      this.#waiting.push({ answer, fail });
      this.#stream.write(`${line}\n`);
    });
  }

  /** Ends its stdin; no more can be asked. */
  end(): void {
    this.#stream.end();
  }

  #read(text: string): void {
    const lines = (this.#text + text).split("\n");
    this.#text = lines.pop() ?? "";
    for (const line of lines) this.#waiting.shift()?.answer(line);
  }

  #words(): Error {
    return new Error(this.#errors.trim() || "the program on the host ended before it answered");
  }

  #end(error: Error): void {
    this.#ended ??= error;
    for (const { fail } of this.#waiting) fail(this.#ended);
    this.#waiting = [];
  }
}
