import type { ToolDefinition } from "../../policy/tools/schema.ts";
import { readDefinitions } from "../../spec/tool-definitions.ts";
import { asMessage, CODES, type Id, isRecord, type Message, PROTOCOL_VERSIONS } from "./messages.ts";
import type { Listener, Transport } from "./transport.ts";

/** Why a server did not answer as it should. `refused` is its own error answer. */
export class BackendError extends Error {
  readonly kind: "timeout" | "gone" | "cancelled" | "refused";
  readonly code: number | undefined;
  constructor(kind: BackendError["kind"], message: string, code?: number) {
    super(message);
    this.kind = kind;
    this.code = code;
  }
}

interface Waiting {
  resolve(result: unknown): void;
  reject(error: BackendError): void;
}

const MAX_PAGES = 64;

/**
 * The guard as the client of one server, for one session. It offers the server nothing: what a server asks of its client
 * (sampling, elicitation, roots) is answered with "method not found".
 */
export class Backend {
  readonly #transport: Transport;
  readonly #waiting = new Map<Id, Waiting>();
  readonly #startMs: number;
  #nextId = 1;
  #closed: string | null = null;
  /** Called when the server says that its tools have changed. */
  onToolsChanged: () => void = () => {};

  constructor(open: (listener: Listener) => Transport, startMs: number) {
    this.#startMs = startMs;
    this.#transport = open({
      message: (message) => this.#receive(message),
      closed: (reason) => this.#end(reason),
    });
  }

  get closed(): boolean {
    return this.#closed !== null;
  }

  close(): void {
    this.#transport.close();
  }

  /** Introduces itself. @throws BackendError */
  async start(): Promise<void> {
    const result = await this.#request(
      "initialize",
      {
        protocolVersion: PROTOCOL_VERSIONS[0],
        capabilities: {},
        clientInfo: { name: "bailiwick-mcp-guard", version: "1" },
      },
      this.#startMs,
    );
    const version = isRecord(result) ? result.protocolVersion : undefined;
    if (!PROTOCOL_VERSIONS.some((known) => known === version))
      throw new BackendError("gone", `the server speaks protocol version ${JSON.stringify(version)?.slice(0, 40)}`);
    this.#transport.send({ jsonrpc: "2.0", method: "notifications/initialized" });
  }

  /** All tools, page by page. @throws BackendError; Error for what is no list of tools */
  async tools(): Promise<ToolDefinition[]> {
    const all: unknown[] = [];
    let cursor: string | undefined;
    for (let page = 0; page < MAX_PAGES; page++) {
      const result = await this.#request("tools/list", cursor === undefined ? {} : { cursor }, this.#startMs);
      if (!isRecord(result) || !Array.isArray(result.tools)) throw new Error("the server's answer is no list of tools");
      all.push(...result.tools);
      if (typeof result.nextCursor !== "string") return readDefinitions(all);
      cursor = result.nextCursor;
    }
    throw new Error(`the server's list of tools has more than ${MAX_PAGES} pages`);
  }

  /** Calls a tool; its result as the server gave it. @throws BackendError */
  async call(name: string, args: object, ms: number, signal: AbortSignal): Promise<Record<string, unknown>> {
    const result = await this.#request("tools/call", { name, arguments: args }, ms, signal);
    if (!isRecord(result)) throw new BackendError("gone", "the server's answer is no result of a tool");
    return result;
  }

  #request(
    method: string,
    params: Readonly<Record<string, unknown>>,
    ms: number,
    signal?: AbortSignal,
  ): Promise<unknown> {
    if (this.#closed !== null) return Promise.reject(new BackendError("gone", this.#closed));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", cancelled);
        this.#waiting.delete(id);
      };
      const giveUp = (error: BackendError) => {
        settle();
        this.#transport.send({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: id } });
        reject(error);
      };
      const cancelled = () => giveUp(new BackendError("cancelled", "the client gave up"));
      const timer = setTimeout(() => giveUp(new BackendError("timeout", `no answer within ${ms} ms`)), ms);
      signal?.addEventListener("abort", cancelled);
      this.#waiting.set(id, {
        resolve: (result) => {
          settle();
          resolve(result);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      });
      this.#transport.send({ jsonrpc: "2.0", id, method, params });
      if (signal?.aborted) cancelled();
    });
  }

  #receive(value: unknown): void {
    const message = asMessage(value);
    if (message === undefined) {
      this.#transport.close();
      return;
    }
    const { id, method } = message;
    if (method !== undefined) {
      if (id !== undefined) this.#answer(id, method);
      else if (method === "notifications/tools/list_changed") this.onToolsChanged();
      return;
    }
    const waiting = id === undefined ? undefined : this.#waiting.get(id);
    if (waiting === undefined) return;
    if (message.error === undefined) waiting.resolve(message.result);
    else waiting.reject(new BackendError("refused", message.error.message, message.error.code));
  }

  #answer(id: Id, method: string): void {
    const answer: Message =
      method === "ping"
        ? { jsonrpc: "2.0", id, result: {} }
        : { jsonrpc: "2.0", id, error: { code: CODES.methodNotFound, message: "not offered by this client" } };
    this.#transport.send(answer);
  }

  #end(reason: string): void {
    this.#closed ??= reason;
    for (const waiting of [...this.#waiting.values()]) waiting.reject(new BackendError("gone", reason));
  }
}
