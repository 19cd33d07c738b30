import type { Duplex, Readable } from "node:stream";
import type { Client, ClientChannel } from "ssh2";
import { type CommandExit, type ExecOptions, type ExecResult, onExit, runCommand } from "./command.ts";
import { UnreachableError } from "./errors.ts";
import type { Contact } from "./trust.ts";

/** A command whose stdin and stdout are a stream: a relay, or anything that talks both ways. */
export type CommandStream = Duplex & {
  readonly stderr: Readable;
  /** How the command ended; rejects with UnreachableError if the connection was lost before. */
  readonly exited: Promise<CommandExit>;
};

/** A login on a host that was recognised. There is no terminal and no forwarding: only commands. */
export class Connection {
  readonly #client: Client;
  readonly #address: string;
  readonly #lost: Promise<UnreachableError>;
  #closed = false;
  #lostBecause: UnreachableError | null = null;
  /** The host key of this connection: `ssh-ed25519 AAAA…`. */
  readonly hostKey: string;
  /** How the host was recognised. */
  readonly contact: Contact;

  /** Made by `connect`. */
  constructor(
    client: Client,
    facts: { address: string; hostKey: string; contact: Contact; rekeyProblem: () => Error | null },
  ) {
    this.#client = client;
    this.#address = facts.address;
    this.hostKey = facts.hostKey;
    this.contact = facts.contact;
    let cause: Error | undefined;
    client.on("error", (error) => {
      cause ??= facts.rekeyProblem() ?? error;
    });
    this.#lost = new Promise((resolve) => {
      client.on("close", () => {
        const why = cause === undefined ? "" : `: ${cause.message}`;
        const how = this.#closed ? "is closed" : `was lost${why}`;
        this.#lostBecause = new UnreachableError(`the connection to ${this.#address} ${how}`, { cause });
        resolve(this.#lostBecause);
      });
    });
  }

  /**
   * Runs a command through the user's shell on the host and waits for it. Any exit code is a result, not an error.
   * @throws UnreachableError if the connection is lost, CommandTimeoutError after `timeoutMs`, `signal.reason` if aborted
   */
  async exec(command: string, options: ExecOptions = {}): Promise<ExecResult> {
    options.signal?.throwIfAborted();
    return await this.#start(command, (channel) => runCommand(channel, this.#lost, options));
  }

  /**
   * Starts a command and hands over its stdin and stdout. Ending the stream ends its stdin; `destroy()` ends it.
   * @throws UnreachableError if the connection is lost
   */
  async stream(command: string): Promise<CommandStream> {
    return await this.#start(command, (channel) => {
      const exited = new Promise<CommandExit>((resolve, reject) => {
        onExit(channel, resolve);
        channel.on("close", () => resolve({ code: null, signal: null }));
        void this.#lost.then(reject);
      });
      exited.catch(() => {});
      return Object.assign(channel, { exited });
    });
  }

  /** Ends the connection and waits until it has ended (at most two seconds, then it is cut). Safe to call again. */
  async close(): Promise<void> {
    if (this.#lostBecause !== null) return;
    this.#closed = true;
    this.#client.end();
    const cut = setTimeout(() => this.#client.destroy(), 2000);
    await this.#lost;
    clearTimeout(cut);
  }

  /** Starts a command; `use` is called in that very turn, since the command's end may be read together with its start. */
  #start<T>(command: string, use: (channel: ClientChannel) => T | Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#lostBecause !== null || this.#closed)
        return reject(this.#lostBecause ?? new UnreachableError(`the connection to ${this.#address} is closed`));
      void this.#lost.then(reject);
      try {
        this.#client.exec(command, (error, channel) => {
          if (error)
            reject(
              new UnreachableError(`${this.#address} did not start a command: ${error.message}`, { cause: error }),
            );
          else resolve(use(channel));
        });
      } catch (error) {
        reject(new UnreachableError(`the connection to ${this.#address} was lost`, { cause: error }));
      }
    });
  }
}
