import { createServer, type Server, type ServerResponse } from "node:http";
import type { Gateway } from "./call.ts";
import type { CapState } from "./ledger.ts";
import { usd } from "./price.ts";

/** Days that a report of spending goes back. */
const REPORT_DAYS = 31;

/**
 * What the gateway tells root, on a port of its own that the firewall keeps for root: `GET /metrics`, `GET /spend` and `GET /status`.
 * Nothing can be changed here.
 */
export function adminServer(gateway: Gateway): Server {
  return createServer({ maxHeaderSize: 8192, requestTimeout: 10_000 }, (req, res) => {
    req.resume();
    if (req.method !== "GET") return send(res, 405, "text/plain", "only GET\n");
    if (req.url === "/metrics") return send(res, 200, "text/plain; version=0.0.4; charset=utf-8", metrics(gateway));
    if (req.url === "/spend") return send(res, 200, "application/json", JSON.stringify(spending(gateway)));
    if (req.url === "/status") return send(res, 200, "application/json", JSON.stringify(status(gateway)));
    return send(res, 404, "text/plain", "there are /metrics, /spend and /status\n");
  });
}

function send(res: ServerResponse, status: number, type: string, text: string): void {
  res.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(text), connection: "close" });
  res.end(text);
}

function metrics({ metrics, limiter, ledger, policy }: Gateway): string {
  const upstreams = [...policy.routes.values()].map(({ name, upstream }) => ({ name, up: upstream.isUp() }));
  return metrics.text(limiter.open, ledger.caps(), upstreams);
}

/** Which configuration is in force, by the sha256 of its file, and how the providers are. */
function status({ policy }: Gateway) {
  return {
    config: policy.digest,
    providers: [...policy.routes.values()].map(({ name, upstream }) => {
      const { up, failures, retryAt } = upstream.breaker.health;
      return { name, up, failures, retryAt: retryAt === null ? null : new Date(retryAt).toISOString() };
    }),
  };
}

/** As `bailiwick spend --json` prints it; amounts in USD. */
function spending({ ledger, policy }: Gateway) {
  return {
    timeZone: policy.budgets.timeZone,
    budgets: ledger.caps().map(inUsd),
    calls: ledger.report(REPORT_DAYS).map(({ nanos, ...entry }) => ({ ...entry, usd: usd(nanos) })),
    providers: [...policy.routes.values()].map(({ name, upstream }) => ({ name, up: upstream.isUp() })),
  };
}

function inUsd({ scope, period, name, cap, spent, reserved, leased, left, resetsAt }: CapState) {
  return {
    ...{ scope, period, name, cap: usd(cap), spent: usd(spent), reserved: usd(reserved) },
    ...{ leased: usd(leased), left: usd(left), resetsAt: new Date(resetsAt).toISOString() },
  };
}
