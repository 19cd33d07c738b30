import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { type RelayEnd, type RelayRequest, relay } from "./relay.ts";
import type { Route } from "./routes.ts";

/** Tries of one call at one provider, and between them at least and at most, ms. */
const TRIES = 3;
const [SHORTEST_WAIT_MS, LONGEST_WAIT_MS] = [50, 250];

/** How a call ended, who answered it, and how often it was tried. */
export interface AttemptsEnd {
  readonly end: RelayEnd;
  readonly servedBy: Route;
  readonly attempts: number;
}

/**
 * Tries a call until a provider has it. Again at the same one only if it certainly never had it: no connection came about.
 * At the next one also if the one before refused it with 429 or 5xx, for which none is charged. Once a byte has gone to
 * the client, or may have cost money, nothing is tried again.
 */
export async function attempt(
  routes: readonly Route[],
  requestFor: (route: Route) => Omit<RelayRequest, "declines">,
  res: ServerResponse,
): Promise<AttemptsEnd> {
  let attempts = 0;
  for (const [i, route] of routes.entries()) {
    const isLast = i === routes.length - 1;
    for (let tries = 1; ; tries++) {
      const downUntil = route.upstream.breaker.begin();
      if (downUntil !== undefined) {
        if (!isLast) break;
        return { end: down(route, downUntil), servedBy: route, attempts };
      }
      attempts++;
      const declines = (status: number) => !isLast && (status === 429 || status >= 500);
      const end = await relay({ ...requestFor(route), declines }, res);
      route.upstream.breaker.end(success(end));
      const neverHadIt = end.refusal !== undefined && !end.sent;
      if (neverHadIt && tries < TRIES && !res.closed) {
        await sleep(SHORTEST_WAIT_MS + Math.random() * (LONGEST_WAIT_MS - SHORTEST_WAIT_MS));
        if (!res.closed) continue;
      }
      if (isLast || res.closed || !(neverHadIt || end.declined)) return { end, servedBy: route, attempts };
      break;
    }
  }
  throw new Error("a call has at least one route");
}

/**
 * What a call says of its provider. That a client left says nothing; an error that one request can bring about by itself
 * (500) does not count against the provider, or an agent could have it left alone for all others.
 */
function success(end: RelayEnd): boolean | undefined {
  if (end.answered !== null) return end.answered <= 500;
  return end.refusal === undefined ? undefined : false;
}

function down(route: Route, retryAt: number): RelayEnd {
  return {
    outcome: "refused",
    refusal: {
      ...{ status: 503, code: "upstream_down", retryAt },
      message: `the provider "${route.name}" has failed several times in a row and is left alone for a moment; try again then`,
    },
    ...{ sent: false, declined: false, answered: null, status: null, stream: false, bytesOut: 0 },
    ...{ firstByteAt: null, upstreamRequestId: null },
  };
}
