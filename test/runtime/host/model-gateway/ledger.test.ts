import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { Calendar } from "../../../../runtime/host/model-gateway/calendar.ts";
import { Ledger, type OverBudget, type Reservation } from "../../../../runtime/host/model-gateway/ledger.ts";
import { nanos } from "../../../../runtime/host/model-gateway/price.ts";
import type { GatewayConfig } from "../../../../runtime/policy/models/schema.ts";

const folder = mkdtempSync(join(tmpdir(), "bailiwick-ledger-"));
afterAll(() => rmSync(folder, { recursive: true }));

type Caps = GatewayConfig["budgets"]["caps"];
const cap = (scope: string, usdPerDay: number | null, usdPerMonth: number | null = null) => ({
  scope,
  usdPerDay,
  usdPerMonth,
});
const at = (text: string) => Date.parse(text);
const clock = { now: at("2026-11-26T12:00:00Z") };
let files = 0;
const newFile = () => join(folder, `${files++}.db`);
const budgets = (caps: Caps, timeZone = "UTC", ledger = ":memory:") => ({
  caps,
  timeZone,
  ledger,
  maxOutputTokens: 1000,
});
const open = (caps: Caps, file = ":memory:", timeZone = "UTC") =>
  new Ledger(file, budgets(caps, timeZone), () => clock.now);
const reserve = (ledger: Ledger, usd: number, agent = "a", route = "m") => ledger.reserve(agent, route, nanos(usd));
const got = (result: Reservation | OverBudget): Reservation => {
  if (!("counters" in result)) throw new Error(`over budget: ${JSON.stringify(result)}`);
  return result;
};
const refused = (result: Reservation | OverBudget): OverBudget => {
  if ("counters" in result) throw new Error("was admitted");
  return result;
};

describe("a cap", () => {
  it("holds from the first reservation of a day on, also one larger than the cap", () => {
    const ledger = open([cap("host", 5)]);
    expect(refused(reserve(ledger, 10))).toMatchObject({ scope: "host", period: "day", left: nanos(5) });
    got(reserve(ledger, 5));
    expect(refused(reserve(ledger, 0.000000001)).left).toBe(0);
  });

  it("counts reservations until they are settled, then what they came to", () => {
    const ledger = open([cap("agent/a", 1)]);
    const first = got(reserve(ledger, 0.7));
    refused(reserve(ledger, 0.4));
    ledger.settle(first, nanos(0.1));
    got(reserve(ledger, 0.9));
    expect(() => ledger.settle(first, 0)).toThrow("settled once");
  });

  it.each(["host", "agent/a", "model/m", "grant/a/m"])("of %s holds for its calls alone", (scope) => {
    const ledger = open([cap(scope, 1)]);
    got(reserve(ledger, 1));
    refused(reserve(ledger, 0.1));
    expect("counters" in reserve(ledger, 0.1, "b", "n")).toBe(scope !== "host");
    expect("counters" in reserve(ledger, 0.1, "b", "m")).toBe(scope === "agent/a" || scope === "grant/a/m");
  });

  it("that is refused reserves nothing under the others", () => {
    const ledger = open([cap("host", 10), cap("agent/a", 1)]);
    refused(reserve(ledger, 2));
    expect(ledger.caps().map(({ reserved }) => reserved)).toEqual([0, 0]);
  });

  it("tells the latest reset of those that are passed", () => {
    const ledger = open([cap("host", 1, 1)]);
    expect(refused(reserve(ledger, 2)).resetsAt).toBe(at("2026-12-01T00:00:00Z"));
  });

  it("that is new counts what was spent before it was set", () => {
    const ledger = open([]);
    const entry = { agent: "a", route: "m", model: "x", inputTokens: 1, outputTokens: 1, nanos: nanos(0.9) };
    ledger.note(entry);
    ledger.configure(budgets([cap("grant/a/m", 1), cap("agent/b", 1), cap("host", null, 1)]));
    expect(refused(reserve(ledger, 0.2)).left).toBe(nanos(0.1));
    expect(refused(reserve(ledger, 0.2, "b", "n"))).toMatchObject({ scope: "host", left: nanos(0.1) });
    got(reserve(ledger, 0.1, "b", "n"));
  });
});

describe("a day and a month", () => {
  it("begin anew, and calls settle in those in which they began", () => {
    clock.now = at("2026-11-30T23:59:59.999Z");
    const ledger = open([cap("host", 1, 3)]);
    const late = got(reserve(ledger, 1));
    clock.now = at("2026-12-01T00:00:00Z");
    refused(reserve(ledger, 1.1));
    const early = got(reserve(ledger, 1));
    ledger.settle(late, nanos(0.5));
    refused(reserve(ledger, 0.1));
    ledger.settle(early, 0);
    got(reserve(ledger, 1));
    clock.now = at("2026-12-02T00:00:00Z");
    got(reserve(ledger, 1));
  });

  it("do not begin anew when the clock is set back", () => {
    clock.now = at("2026-11-26T00:00:01Z");
    const ledger = open([cap("host", 1)]);
    clock.now = at("2026-11-25T23:59:00Z");
    got(reserve(ledger, 1));
    clock.now = at("2026-11-26T00:00:02Z");
    got(reserve(ledger, 1));
    clock.now = at("2026-11-25T23:59:30Z");
    refused(reserve(ledger, 0.1));
  });

  it("are those of the time zone, of 23 and 25 hours where the clock changes", () => {
    const berlin = new Calendar("Europe/Berlin");
    const spring = berlin.day(at("2026-03-28T23:00:00Z"));
    expect([spring.name, new Date(spring.endsAt).toISOString()]).toEqual(["2026-03-29", "2026-03-29T22:00:00.000Z"]);
    const autumn = berlin.day(at("2026-10-24T22:00:00Z"));
    expect([autumn.name, new Date(autumn.endsAt).toISOString()]).toEqual(["2026-10-25", "2026-10-25T23:00:00.000Z"]);
    expect(berlin.day(at("2026-10-25T01:30:00Z")).name).toBe("2026-10-25");
    expect(new Date(berlin.month(at("2026-03-31T21:59:59Z")).endsAt).toISOString()).toBe("2026-03-31T22:00:00.000Z");
    const apia = new Calendar("Pacific/Apia");
    expect(apia.day(at("2011-12-30T09:59:59Z")).name).toBe("2011-12-29");
    expect(apia.day(at("2011-12-30T10:00:00Z")).name).toBe("2011-12-31"); // the day that was left out
  });

  it("hold across the change of the clock: the hour that comes twice belongs to one day", () => {
    clock.now = at("2026-10-25T00:30:00Z");
    const ledger = open([cap("host", 1)], ":memory:", "Europe/Berlin");
    got(reserve(ledger, 0.6));
    clock.now = at("2026-10-25T01:30:00Z");
    got(reserve(ledger, 0.4));
    refused(reserve(ledger, 0.1));
    clock.now = at("2026-10-25T22:59:59Z");
    refused(reserve(ledger, 0.1));
    clock.now = at("2026-10-25T23:00:00Z");
    got(reserve(ledger, 1));
  });
});

describe("after a stop", () => {
  it("in order, it goes on with exactly what was spent", () => {
    const file = newFile();
    clock.now = at("2026-11-26T12:00:00Z");
    const ledger = open([cap("host", 1)], file);
    ledger.settle(got(reserve(ledger, 0.5)), nanos(0.123456789));
    ledger.close();
    const next = open([cap("host", 1)], file);
    expect(next.caps()[0]).toMatchObject({ spent: nanos(0.123456789), reserved: 0, leased: 0 });
    next.close();
  });

  it("with calls under way, what was reserved for them counts as spent", () => {
    const file = newFile();
    const ledger = open([cap("host", 1)], file);
    got(reserve(ledger, 0.4));
    ledger.close();
    const next = open([cap("host", 1)], file);
    expect(next.caps()[0]).toMatchObject({ spent: nanos(0.4) });
    next.close();
  });

  it("is the gateway's alone: a second one cannot open it", () => {
    const file = newFile();
    const ledger = open([cap("host", 1)], file);
    got(reserve(ledger, 0.1));
    expect(() => open([cap("host", 1)], file)).toThrow("locked");
    ledger.close();
  });

  it("promises what a burst no longer needs are given back", () => {
    const ledger = open([cap("host", 10)]);
    const burst = Array.from({ length: 9 }, () => got(reserve(ledger, 1)));
    for (const one of burst) ledger.settle(one, nanos(0.01));
    expect(ledger.caps()[0]?.leased).toBeGreaterThan(nanos(8));
    ledger.flush();
    expect(ledger.caps()[0]?.leased).toBe(nanos(0.1));
  });

  it("a report has what was noted, by day, agent, provider and model", () => {
    const file = newFile();
    const ledger = open([], file);
    const entry = { agent: "a", route: "m", model: "x", inputTokens: 3, outputTokens: 2, nanos: 7 };
    clock.now = at("2026-11-25T12:00:00Z");
    ledger.note(entry);
    clock.now = at("2026-11-26T12:00:00Z");
    ledger.note(entry);
    ledger.note(entry);
    ledger.close();
    const next = open([], file);
    expect(next.report(31)).toEqual([
      { day: "2026-11-26", ...entry, calls: 2, inputTokens: 6, outputTokens: 4, nanos: 14 },
      { day: "2026-11-25", ...entry, calls: 1 },
    ]);
    expect(next.report(1)).toHaveLength(1);
    next.close();
  });
});
