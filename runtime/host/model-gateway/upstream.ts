import type { Dispatcher } from "undici";
import Pool from "undici/lib/dispatcher/pool.js";
import { Breaker } from "./breaker.ts";

/** Longest wait for a connection (and its TLS handshake), ms. */
const CONNECT_TIMEOUT_MS = 10_000;
/** An idle connection is kept this long, ms, whatever the provider offers: after a network outage it may be dead without saying so. */
const KEEP_ALIVE_MS = 10_000;
const CONNECTIONS = 256;

/**
 * A provider's API: one fixed origin, a path prefix, and the connections to it. A request can name neither.
 * Certificates are judged as Node does: its own list, `NODE_EXTRA_CA_CERTS`, and with `--use-system-ca` the system's.
 */
export class Upstream {
  /** As the configuration writes it. */
  readonly url: string;
  readonly #origin: string;
  readonly #prefix: string;
  #pool: Pool;
  readonly breaker = new Breaker();

  /** @param url https URL, or http on 127.0.0.1, that config.ts has checked */
  constructor(url: string) {
    this.url = url;
    const parsed = new URL(url);
    this.#origin = parsed.origin;
    this.#prefix = parsed.pathname.replace(/\/$/, "");
    this.#pool = this.#newPool();
  }

  /** Whether calls go to it; false while it is left alone after failures. */
  isUp(): boolean {
    return this.breaker.isClosed;
  }

  /**
   * Sends one POST. The handler hears of everything that happens, also of errors; nothing is retried, no redirect is
   * followed. Returns what to call when the connection has failed: the next request then opens a new one, for those that
   * lie idle beside a dead one are as likely dead, and would each hang until a timeout. Requests under way are left alone.
   */
  post(path: string, headers: string[], body: Buffer, handler: Dispatcher.DispatchHandler): () => void {
    const pool = this.#pool;
    pool.dispatch({ path: this.#prefix + path, method: "POST", headers, body }, handler);
    return () => {
      if (pool !== this.#pool) return;
      this.#pool = this.#newPool();
      // closes the idle ones now and the others when their request is done
      pool.close().catch(() => {});
    };
  }

  #newPool(): Pool {
    return new Pool(this.#origin, {
      connections: CONNECTIONS,
      connectTimeout: CONNECT_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      // the relay has its own clocks, which also count the wait for a free connection
      headersTimeout: 0,
      bodyTimeout: 0,
      allowH2: false,
    });
  }
}
