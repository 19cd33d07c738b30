import { createServer, type Server as HttpServer, type IncomingMessage } from "node:http";
import { CATALOGUE } from "./catalogue.ts";
import { ApiError, type ErrorCode } from "./errors.ts";
import { firewallRoutes } from "./firewalls.ts";
import { networkRoutes } from "./networks.ts";
import { serverRoutes } from "./servers.ts";
import { smallRoutes } from "./small.ts";
import { volumeRoutes } from "./volumes.ts";
import { type Machines, World } from "./world.ts";

export interface Call {
  readonly world: World;
  /** Path segments after the kind: an id, then `actions` and a verb. */
  readonly id: number;
  readonly query: URLSearchParams;
  readonly body: Record<string, unknown>;
}

/** Method and path, ids as `:id`, to what is answered. */
export type Routes = Readonly<Record<string, (call: Call) => object | undefined | Promise<object | undefined>>>;

const ROUTES: Routes = {
  ...CATALOGUE,
  ...serverRoutes,
  ...volumeRoutes,
  ...firewallRoutes,
  ...networkRoutes,
  ...smallRoutes,
  "GET /actions": ({ world, query }) => {
    const ids = query.getAll("id").map(Number);
    return { actions: ids.flatMap((id) => world.actions.get(id) ?? []) };
  },
};

interface Fault {
  readonly route: RegExp;
  readonly code: ErrorCode;
  times: number;
}

/**
 * A stateful stand-in of Hetzner Cloud's API, on loopback. What it refuses, and with which code, follows the API's public
 * documentation; whatever it does not know is answered with 404, so that a test cannot pass by luck.
 */
export class HetznerApi {
  readonly token = "t".repeat(64);
  readonly world: World;
  /** Every request that was answered, in order. */
  readonly calls: { readonly route: string; readonly body: Record<string, unknown>; readonly status: number }[] = [];
  readonly #faults: Fault[] = [];
  readonly #http: HttpServer;

  constructor(machines?: Machines) {
    this.world = new World(machines);
    this.#http = createServer((request, response) => {
      this.#answer(request).then(({ status, body, headers = {} }) => {
        response.writeHead(status, { "content-type": "application/json", ...headers });
        response.end(body === undefined ? undefined : JSON.stringify(body));
      });
    });
  }

  /** @returns the value for HCLOUD_ENDPOINT */
  async start(): Promise<string> {
    await new Promise<void>((done) => this.#http.listen(0, "127.0.0.1", done));
    const address = this.#http.address();
    if (address === null || typeof address === "string") throw new Error("the emulated API has no port");
    return `http://127.0.0.1:${address.port}/v1`;
  }

  async stop(): Promise<void> {
    this.#http.closeAllConnections();
    await new Promise((done) => this.#http.close(done));
  }

  /** The next `times` requests of a route, such as `POST /servers`, are answered with this error. */
  failing(route: RegExp, code: ErrorCode, times = 1): void {
    this.#faults.push({ route, code, times });
  }

  routes(): string[] {
    return this.calls.map(({ route, status }) => `${status} ${route}`);
  }

  async #answer(
    request: IncomingMessage,
  ): Promise<{ status: number; body?: unknown; headers?: Record<string, string> }> {
    const url = new URL(request.url ?? "/", "http://api");
    const path = url.pathname.replace(/^\/v1/, "");
    const id = Number(/\/(\d+)(?=\/|$)/.exec(path)?.[1] ?? 0);
    const route = `${request.method} ${path.replace(/\/\d+(?=\/|$)/, "/:id")}`;
    const body = await bodyOf(request);
    const finish = (status: number, answer?: unknown, headers?: Record<string, string>) => {
      this.calls.push({ route, body, status });
      return { status, body: answer, ...(headers === undefined ? {} : { headers }) };
    };
    try {
      if (request.headers.authorization !== `Bearer ${this.token}`)
        throw new ApiError("unauthorized", "unable to authenticate");
      const fault = this.#faults.find((one) => one.times > 0 && one.route.test(route));
      if (fault !== undefined) {
        fault.times -= 1;
        throw new ApiError(fault.code, `injected by a test: ${fault.code}`);
      }
      const handler = ROUTES[route];
      if (handler === undefined) throw new ApiError("not_found", `the emulation knows no ${route}`);
      const answer = await handler({ world: this.world, id, query: url.searchParams, body });
      if (answer === undefined) return finish(204);
      return finish(request.method === "POST" ? 201 : 200, paged(answer));
    } catch (error) {
      if (!(error instanceof ApiError)) return finish(500, { error: { code: "server_error", message: String(error) } });
      const { code, message, details, status } = error;
      const headers = status === 429 ? { "RateLimit-Limit": "3600", "RateLimit-Remaining": "0" } : undefined;
      return finish(status, { error: { code, message, details } }, headers);
    }
  }
}

/** Lists come with their place in a paging; everything fits on one page here. */
function paged(answer: object): object {
  const [list] = Object.values(answer);
  if (!Array.isArray(list)) return answer;
  const { length } = list;
  const pagination = {
    page: 1,
    per_page: 50,
    previous_page: null,
    next_page: null,
    last_page: 1,
    total_entries: length,
  };
  return { ...answer, meta: { pagination } };
}

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
}
