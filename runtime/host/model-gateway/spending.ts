import type { GatewayConfig } from "../../policy/models/schema.ts";
import type { JsonFields } from "./json-fields.ts";
import type { Ledger, OverBudget, Reservation } from "./ledger.ts";
import type { CallLine } from "./log.ts";
import { cost, usd } from "./price.ts";
import { type Quote, quote, Unpriceable } from "./quote.ts";
import { Refused } from "./refusal.ts";
import type { RelayEnd } from "./relay.ts";
import type { Endpoint, Route } from "./routes.ts";
import type { UsageMeter } from "./usage-meter.ts";

/** A call as spending sees it. */
export interface Spender {
  readonly agent: string;
  readonly route: Route;
  readonly endpoint: Endpoint;
  readonly model: string;
  readonly body: Buffer;
  readonly fields: JsonFields;
}

/** A call that may be made: its body as it goes up, and what was reserved for it; null where no budget holds. */
export interface Admission {
  readonly body: Buffer;
  readonly reservation: Reservation | null;
  readonly changed: readonly string[];
}

/**
 * Admits a call if the most it could cost, at whichever of the routes answers it, is left under every cap that holds for it, and reserves that. Where no cap
 * holds, and for what is free, the body stays as it is.
 * @throws Refused
 */
export function admit(
  ledger: Ledger,
  budgets: GatewayConfig["budgets"],
  spender: Spender,
  routes: readonly Route[],
): Admission {
  const { agent, route, endpoint, model, body, fields } = spender;
  const { usage } = endpoint;
  if (usage === null || !ledger.isCapped(agent, route.name)) return { body, reservation: null, changed: [] };
  const prices = routes.flatMap(({ prices }) => prices.get(model) ?? []);
  if (prices.length < routes.length)
    throw new Refused(
      403,
      "unpriceable",
      `the price of "${model}" is not known, and agent "${agent}" has a budget; set prices of the provider and push`,
    );
  let bounds: Quote[];
  try {
    bounds = prices.map((price) => quote(route.provider, usage, price, body, fields, budgets.maxOutputTokens));
  } catch (error) {
    if (!(error instanceof Unpriceable)) throw error;
    throw new Refused(400, "unpriceable", `${error.message}; under a budget leave it out`);
  }
  const amount = Math.max(...bounds.map((bound) => bound.amount));
  const reservation = reserve(ledger, agent, route.name, amount);
  return { body: bounds[0]?.body ?? body, reservation, changed: bounds[0]?.changed ?? [] };
}

function reserve(ledger: Ledger, agent: string, route: string, amount: number): Reservation {
  let reservation: Reservation | OverBudget;
  try {
    reservation = ledger.reserve(agent, route, amount);
  } catch {
    throw new Refused(
      503,
      "ledger_unavailable",
      "what this call may cost cannot be written down; see `bailiwick status`",
    );
  }
  if ("counters" in reservation) return reservation;
  const { scope, period, cap, left, resetsAt } = reservation;
  const message = `this call could cost ${dollars(amount)}, and of the ${period}'s budget of ${words(scope)}, ${dollars(cap)}, ${dollars(left)} is left; it begins anew at ${new Date(resetsAt).toISOString()}`;
  throw new Refused(429, "budget_exceeded", message, resetsAt);
}

/**
 * Books what a call came to: what the provider says it used, nothing if the provider refused it or never had it, and all
 * that was reserved if that is not known.
 */
export function settle(
  ledger: Ledger,
  spender: Pick<Spender, "agent" | "route" | "model">,
  { reservation }: Admission,
  servedBy: Route,
  meter: UsageMeter | null,
  end: Pick<RelayEnd, "outcome" | "answered" | "sent">,
  line: CallLine,
): void {
  const unused = !end.sent || (end.answered !== null && end.answered >= 300);
  const price = servedBy.prices.get(spender.model) ?? null;
  const used = unused || meter === null ? null : meter.read(end.outcome === "ok");
  const told = used === null ? null : (used.charged ?? (price === null ? null : cost(price, used.tokens)));
  const amount = unused ? 0 : (told ?? reservation?.amount ?? 0);
  if (used !== null) {
    const { input, cacheRead, cacheWrite, cacheWrite1h, output } = used.tokens;
    line.inputTokens = input + cacheRead + cacheWrite + cacheWrite1h;
    line.outputTokens = output;
  }
  if (unused || told !== null || reservation !== null) line.usd = usd(amount);
  line.usdIsReserved = !unused && told === null && reservation !== null;
  if (meter !== null && !unused)
    ledger.note({
      agent: spender.agent,
      route: spender.route.name,
      model: spender.model,
      inputTokens: line.inputTokens ?? 0,
      outputTokens: line.outputTokens ?? 0,
      nanos: amount,
    });
  if (reservation !== null) ledger.settle(reservation, amount);
}

function words(scope: string): string {
  const [kind, first, second] = scope.split("/");
  if (kind === "host") return "this host";
  return kind === "grant" ? `agent "${first}" with "${second}"` : `${kind} "${first}"`;
}

function dollars(amount: number): string {
  return `$${usd(amount).toFixed(4)}`;
}
