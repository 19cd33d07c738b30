import { randomBytes } from "node:crypto";
import type { Backend } from "./backend.ts";
import type { CataloguedServer } from "./catalogue.ts";
import type { Id } from "./messages.ts";

/** What one client of one agent does with one server: it has a connection of its own to it. */
export class Session {
  readonly id = randomBytes(24).toString("base64url");
  readonly agent: string;
  readonly server: CataloguedServer;
  /** Calls under way, by the client's id: what ends them. */
  readonly calls = new Map<Id, AbortController>();
  usedAt = performance.now();
  #backend: Promise<Backend> | null = null;
  #comparing = false;
  #changedMeanwhile = false;

  constructor(agent: string, server: CataloguedServer) {
    this.agent = agent;
    this.server = server;
  }

  /**
   * The connection, its tools compared with the pinned ones; made anew if the last one has ended.
   * @throws QuarantineError, BackendError
   */
  async ready(): Promise<Backend> {
    this.#backend ??= this.#connect();
    const backend = await this.#backend;
    if (!backend.closed) return backend;
    this.#backend = this.#connect();
    return this.#backend;
  }

  /** Compares again, for a listing. @throws as `ready` */
  async verified(): Promise<Backend> {
    const fresh = this.#backend === null;
    const backend = await this.ready();
    if (!fresh) await this.server.verify(backend);
    return backend;
  }

  close(): void {
    for (const call of this.calls.values()) call.abort();
    void this.#backend?.then(
      (backend) => backend.close(),
      () => {},
    );
  }

  #connect(): Promise<Backend> {
    const connecting = this.server.connect().then(async (backend) => {
      try {
        await this.server.verify(backend);
      } catch (error) {
        backend.close();
        throw error;
      }
      backend.onToolsChanged = () => this.#compareAgain(backend);
      return backend;
    });
    connecting.catch(() => {
      if (this.#backend === connecting) this.#backend = null;
    });
    return connecting;
  }

  /** Whoever calls meanwhile waits for the outcome. A server that says it over and over is asked once at a time. */
  #compareAgain(backend: Backend): void {
    if (this.#comparing) {
      this.#changedMeanwhile = true;
      return;
    }
    this.#comparing = true;
    const comparing = this.#compareUntilQuiet(backend).finally(() => {
      this.#comparing = false;
    });
    comparing.catch(() => {
      backend.close();
      if (this.#backend === comparing) this.#backend = null;
    });
    this.#backend = comparing;
  }

  async #compareUntilQuiet(backend: Backend): Promise<Backend> {
    do {
      this.#changedMeanwhile = false;
      await this.server.verify(backend);
    } while (this.#changedMeanwhile);
    return backend;
  }
}

/** All open sessions. */
export class Sessions {
  readonly #perAgent: number;
  readonly #byId = new Map<string, Session>();

  constructor(perAgent: number) {
    this.#perAgent = perAgent;
  }

  /** Opens one. An agent that has too many loses the one that was idle for longest. */
  open(agent: string, server: CataloguedServer): Session {
    const own = [...this.#byId.values()].filter((session) => session.agent === agent);
    if (own.length >= this.#perAgent) {
      const [oldest] = own.sort((a, b) => a.usedAt - b.usedAt);
      if (oldest !== undefined) this.end(oldest);
    }
    const session = new Session(agent, server);
    this.#byId.set(session.id, session);
    return session;
  }

  /** The session of this id, if it is this agent's and with this server. */
  find(id: string, agent: string, server: CataloguedServer): Session | undefined {
    const session = this.#byId.get(id);
    if (session?.agent !== agent || session.server !== server) return undefined;
    session.usedAt = performance.now();
    return session;
  }

  end(session: Session): void {
    this.#byId.delete(session.id);
    session.close();
  }

  /** Ends those that nothing was heard of for this long, and nothing is under way in. */
  endIdle(ms: number): void {
    const since = performance.now() - ms;
    for (const session of this.#byId.values())
      if (session.usedAt < since && session.calls.size === 0) this.end(session);
  }

  endAll(): void {
    for (const session of [...this.#byId.values()]) this.end(session);
  }
}
