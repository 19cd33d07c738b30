import type { Logger } from "pino";
import type { GrantedTool, PinnedTool, ToolDefinition } from "../../policy/tools/schema.ts";
import { compareTools } from "../../spec/tool-definitions.ts";
import { type ArgumentsCheck, argumentsCheck } from "./arguments.ts";
import { Backend, BackendError } from "./backend.ts";
import { errorCode } from "./log.ts";
import type { Listener, Transport } from "./transport.ts";

/** A tool as one agent may call it. */
export interface Granted {
  readonly tool: PinnedTool;
  readonly grant: GrantedTool;
  readonly check: ArgumentsCheck;
}

export interface ServerEntry {
  readonly name: string;
  readonly tools: readonly PinnedTool[];
  readonly grants: readonly { readonly agent: string; readonly tools: readonly GrantedTool[] }[];
  /** Longest call, ms. */
  readonly callMs: number;
  /** Whether its results say by which exit status a command ended. */
  readonly exitStatus: boolean;
  readonly open: (listener: Listener) => Transport;
}

/** Longest text of a definition in the log. */
const LOGGED = 4096;

/** The server does not describe its tools as they were reviewed. */
export class QuarantineError extends Error {}

/** One server: what of it is granted to whom, and whether it still is what was reviewed. */
export class CataloguedServer {
  readonly name: string;
  readonly callMs: number;
  readonly exitStatus: boolean;
  readonly #pinned: readonly PinnedTool[];
  readonly #granted: ReadonlyMap<string, ReadonlyMap<string, Granted>>;
  readonly #open: ServerEntry["open"];
  readonly #startMs: number;
  readonly #log: Logger;
  #quarantine: string | null = null;
  #addedSaid = "";

  constructor({ name, tools, grants, callMs, exitStatus, open }: ServerEntry, startMs: number, log: Logger) {
    this.name = name;
    this.callMs = callMs;
    this.exitStatus = exitStatus;
    this.#pinned = tools;
    this.#open = open;
    this.#startMs = startMs;
    this.#log = log;
    const byName = new Map(tools.map((tool) => [tool.name, tool]));
    this.#granted = new Map(
      grants.map(({ agent, tools: granted }) => [
        agent,
        new Map(
          granted.flatMap((grant): [string, Granted][] => {
            const tool = byName.get(grant.name);
            return tool === undefined || tool.class === null
              ? []
              : [[grant.name, { tool, grant, check: argumentsCheck(tool, grant) }]];
          }),
        ),
      ]),
    );
  }

  /** Why nothing of it is exposed any more, until the guard starts anew; null: all is well. */
  get quarantined(): string | null {
    return this.#quarantine;
  }

  /** The tools an agent may call; undefined if it may call none. */
  grantedTo(agent: string): ReadonlyMap<string, Granted> | undefined {
    return this.#granted.get(agent);
  }

  /** A connection of its own that has introduced itself, nothing compared. @throws BackendError */
  async connect(): Promise<Backend> {
    const backend = new Backend(this.#open, this.#startMs);
    try {
      await backend.start();
      return backend;
    } catch (error) {
      backend.close();
      // of its own error answer only the code: the message is the server's text
      const reason = error instanceof BackendError && error.kind !== "refused" ? error.message : errorCode(error);
      this.#log.warn({ server: this.name, reason: reason.slice(0, 200) }, "server unavailable");
      throw error;
    }
  }

  /** Compares what the server says of its tools now. @throws QuarantineError; BackendError if it does not say */
  async verify(backend: Backend): Promise<void> {
    if (this.#quarantine !== null) throw new QuarantineError(this.#quarantine);
    let found: ToolDefinition[];
    try {
      found = await backend.tools();
    } catch (error) {
      if (error instanceof BackendError) throw error;
      this.#putAway(`its list of tools is not well-formed: ${(error as Error).message}`, {});
    }
    const { changed, missing, added } = compareTools(this.#pinned, found);
    if (changed.length > 0 || missing.length > 0) {
      const text = (tools: readonly ToolDefinition[], name: string) => {
        const tool = tools.find((one) => one.name === name);
        return tool === undefined
          ? null
          : JSON.stringify({ ...tool, hash: undefined, class: undefined }).slice(0, LOGGED);
      };
      const names = [...changed.map(({ tool }) => `${tool} changed`), ...missing.map((tool) => `${tool} is gone`)];
      this.#putAway(names.join(", "), {
        changed: changed.map((one) => ({ ...one, old: text(this.#pinned, one.tool), new: text(found, one.tool) })),
        missing,
        added,
      });
    }
    const said = added.join(" ");
    if (added.length > 0 && said !== this.#addedSaid)
      this.#log.warn({ server: this.name, added }, "tools that nobody has reviewed; they are not exposed");
    this.#addedSaid = said;
  }

  #putAway(why: string, drift: object): never {
    this.#quarantine = why;
    this.#log.error({ server: this.name, why, ...drift }, "quarantined");
    throw new QuarantineError(why);
  }
}
