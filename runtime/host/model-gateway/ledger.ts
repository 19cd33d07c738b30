import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { GatewayConfig } from "../../policy/models/schema.ts";
import { Calendar, type Period } from "./calendar.ts";
import { nanos } from "./price.ts";

type Budgets = GatewayConfig["budgets"];

/** One scope's spending in one day or month, nanodollars. */
interface Counter {
  readonly scope: string;
  readonly period: Period;
  /** Settled, and what was promised before a crash. */
  spent: number;
  /** Calls under way, each with the most it can cost. */
  reserved: number;
  /** On disk: after a crash all of it counts as spent. Never below spent + reserved. */
  promised: number;
}

interface Capped {
  readonly counter: Counter;
  readonly cap: number;
}

/** Money that a call under way may cost; settled once. */
export interface Reservation {
  readonly amount: number;
  readonly counters: readonly Counter[];
  settled: boolean;
}

/** Why there is no reservation: the cap that would be passed. Amounts in nanodollars. */
export interface OverBudget {
  readonly scope: string;
  readonly period: "day" | "month";
  readonly cap: number;
  readonly left: number;
  /** When the period of this cap ends, ms since 1970. */
  readonly resetsAt: number;
}

/** What calls of one kind on one day came to. */
export interface Entry {
  readonly agent: string;
  readonly route: string;
  readonly model: string;
  calls: number;
  inputTokens: number;
  outputTokens: number;
  nanos: number;
}

/** One cap as a report shows it, nanodollars. */
export interface CapState {
  readonly scope: string;
  readonly period: "day" | "month";
  readonly name: string;
  readonly cap: number;
  readonly spent: number;
  readonly reserved: number;
  /** Promised on disk beyond spent and reserved: what a crash now would cost of the cap. */
  readonly leased: number;
  readonly left: number;
  readonly resetsAt: number;
}

/** A lease is this part of its cap. */
const SLICES = 100;

const SCHEMA = `
  create table if not exists promised(scope text, period text, nanos integer not null, primary key(scope, period)) without rowid;
  create table if not exists calls(
    day text, agent text, route text, model text, calls integer not null, input integer not null, output integer not null,
    nanos integer not null, primary key(day, agent, route, model)) without rowid;
`;

/**
 * What was spent, and what may be. All decisions are made in memory, in one step that nothing can interleave with; on
 * disk stands, for every cap, an amount that is never below what is spent and reserved. It is raised by a slice of the
 * cap, with a full sync, before what needs it is admitted. A crash thus loses the difference to the operator's caution,
 * never to the agents: what was promised counts as spent.
 */
export class Ledger {
  readonly #db: DatabaseSync;
  readonly #now: () => number;
  readonly #read: StatementSync;
  readonly #write: StatementSync;
  readonly #add: StatementSync;
  readonly #counters = new Map<string, Counter>();
  /** By agent and route, what holds for their calls as long as the day, the month and the caps are the same. */
  readonly #cappedOf = new Map<string, { day: Period; month: Period; capped: readonly Capped[] }>();
  #pending = new Map<string, { day: string; entry: Entry }>();
  #calendar = new Calendar("UTC");
  #caps = new Map<string, { day: number | null; month: number | null }>();

  /**
   * @param now ms since 1970
   * @throws if the file cannot be opened, is no ledger, or another process holds it
   */
  constructor(file: string, budgets: Budgets, now: () => number = Date.now) {
    this.#now = now;
    this.#db = new DatabaseSync(file);
    // the lock is taken now and kept; in this mode SQLite also needs no file that is shared by mapping
    this.#db.exec("pragma busy_timeout=3000; pragma locking_mode=exclusive; pragma journal_mode=wal");
    this.#db.exec("pragma synchronous=full; pragma wal_autocheckpoint=200");
    this.#db.exec(SCHEMA);
    this.#read = this.#db.prepare("select nanos from promised where scope=? and period=?");
    this.#write = this.#db.prepare(
      "insert into promised values(?1,?2,?3) on conflict(scope,period) do update set nanos=?3",
    );
    this.#add = this.#db.prepare(`insert into calls values(?1,?2,?3,?4,?5,?6,?7,?8)
      on conflict(day,agent,route,model) do update set
      calls=calls+?5, input=input+?6, output=output+?7, nanos=nanos+?8`);
    this.configure(budgets);
  }

  /** Other caps from now on. What was spent and is reserved stays. */
  configure(budgets: Budgets): void {
    this.#calendar = new Calendar(budgets.timeZone);
    this.#cappedOf.clear();
    const amount = (usd: number | null) => (usd === null ? null : nanos(usd));
    this.#caps = new Map(
      budgets.caps.map(({ scope, usdPerDay, usdPerMonth }) => [
        scope,
        { day: amount(usdPerDay), month: amount(usdPerMonth) },
      ]),
    );
  }

  /** Whether calls of this agent on this route are under any cap. */
  isCapped(agent: string, route: string): boolean {
    return this.#caps.size > 0 && scopes(agent, route).some((scope) => this.#caps.has(scope));
  }

  /**
   * Reserves an amount under every cap it counts for, or under none.
   * @throws if what it must promise cannot be written: then nothing is reserved
   */
  reserve(agent: string, route: string, amount: number): Reservation | OverBudget {
    const capped = this.#capped(agent, route);
    let over: OverBudget | undefined;
    for (const { counter, cap } of capped) {
      const left = cap - counter.spent - counter.reserved;
      const { kind, endsAt } = counter.period;
      if (amount > left && (over === undefined || endsAt > over.resetsAt))
        over = { scope: counter.scope, period: kind, cap, left: Math.max(0, left), resetsAt: endsAt };
    }
    if (over !== undefined) return over;
    const raised = capped.flatMap(({ counter, cap }) => {
      const needed = counter.spent + counter.reserved + amount;
      if (needed <= counter.promised) return [];
      return [{ counter, to: Math.max(needed, Math.min(cap, needed + slice(cap))) }];
    });
    this.#promise(raised);
    const counters = capped.map(({ counter }) => counter);
    for (const counter of counters) counter.reserved += amount;
    return { amount, counters, settled: false };
  }

  /**
   * Books what a call came to in place of what was reserved for it, in the periods in which it began.
   * @throws if it came to more than reserved and that cannot be written; it is booked in memory all the same
   */
  settle(reservation: Reservation, amount: number): void {
    if (reservation.settled) throw new Error("a reservation is settled once");
    reservation.settled = true;
    for (const counter of reservation.counters) {
      counter.reserved -= reservation.amount;
      counter.spent += amount;
    }
    // a provider that charges more than it was allowed to
    this.#promise(
      reservation.counters
        .filter((counter) => counter.spent + counter.reserved > counter.promised)
        .map((counter) => ({ counter, to: counter.spent + counter.reserved })),
    );
  }

  /** Notes a call for the report; reaches the disk with the next `flush`. */
  note(entry: Omit<Entry, "calls">): void {
    const day = this.#period("day").name;
    // no name holds a line feed
    const key = `${day}\n${entry.agent}\n${entry.route}\n${entry.model}`;
    const known = this.#pending.get(key)?.entry;
    if (known === undefined) {
      this.#pending.set(key, { day, entry: { ...entry, calls: 1 } });
      return;
    }
    known.calls++;
    known.inputTokens += entry.inputTokens;
    known.outputTokens += entry.outputTokens;
    known.nanos += entry.nanos;
  }

  /** Writes what was noted, gives back what was promised beyond need, and forgets periods that are over. */
  flush(final = false): void {
    const now = this.#now();
    const lowered = [...this.#counters.values()].flatMap((counter) => {
      const held = counter.spent + counter.reserved;
      const cap = this.#capOf(counter);
      const spare = final || cap === null ? 0 : slice(cap);
      return counter.promised > held + 2 * spare ? [{ counter, to: held + spare }] : [];
    });
    if (this.#pending.size > 0 || lowered.length > 0) {
      const pending = this.#pending;
      this.#transaction(() => {
        for (const { day, entry: e } of pending.values())
          this.#add.run(day, e.agent, e.route, e.model, e.calls, e.inputTokens, e.outputTokens, e.nanos);
        for (const { counter, to } of lowered) this.#write.run(counter.scope, counter.period.name, to);
      });
      this.#pending = new Map();
      for (const { counter, to } of lowered) counter.promised = to;
    }
    for (const [key, counter] of this.#counters)
      if (counter.period.endsAt <= now && counter.reserved === 0) this.#counters.delete(key);
  }

  /** After this a start finds exactly what was spent; open reservations count as spent. */
  close(): void {
    this.flush(true);
    this.#db.close();
  }

  /** Every cap as it stands. */
  caps(): CapState[] {
    return [...this.#caps].flatMap(([scope, cap]) =>
      (["day", "month"] as const).flatMap((kind) => {
        const amount = cap[kind];
        if (amount === null) return [];
        const counter = this.#counter(scope, this.#period(kind));
        const held = counter.spent + counter.reserved;
        return [
          {
            ...{ scope, period: kind, name: counter.period.name, cap: amount },
            ...{ spent: counter.spent, reserved: counter.reserved },
            leased: Math.max(0, counter.promised - held),
            left: Math.max(0, amount - held),
            resetsAt: counter.period.endsAt,
          },
        ];
      }),
    );
  }

  /** What calls came to by day, agent, provider and model, newest day first, at most `days` days. */
  report(days: number): (Entry & { day: string })[] {
    this.flush();
    const since = this.#db.prepare("select distinct day from calls order by day desc limit ?").all(days).at(-1)?.day;
    return this.#db
      .prepare("select * from calls where day>=? order by day desc, agent, route, model")
      .all(since ?? "")
      .map((row) => ({
        ...{ day: String(row.day), agent: String(row.agent), route: String(row.route), model: String(row.model) },
        ...{ calls: Number(row.calls), inputTokens: Number(row.input), outputTokens: Number(row.output) },
        nanos: Number(row.nanos),
      }));
  }

  #capped(agent: string, route: string): readonly Capped[] {
    if (this.#caps.size === 0) return [];
    const [day, month] = [this.#period("day"), this.#period("month")];
    const key = `${agent}/${route}`;
    const known = this.#cappedOf.get(key);
    if (known !== undefined && known.day === day && known.month === month) return known.capped;
    const capped = scopes(agent, route).flatMap((scope) => {
      const caps = this.#caps.get(scope);
      if (caps === undefined) return [];
      return [day, month].flatMap((period) => {
        const cap = caps[period.kind];
        return cap === null ? [] : [{ counter: this.#counter(scope, period), cap }];
      });
    });
    this.#cappedOf.set(key, { day, month, capped });
    return capped;
  }

  #capOf({ scope, period }: Counter): number | null {
    return this.#caps.get(scope)?.[period.kind] ?? null;
  }

  #period(kind: "day" | "month"): Period {
    return kind === "day" ? this.#calendar.day(this.#now()) : this.#calendar.month(this.#now());
  }

  #counter(scope: string, period: Period): Counter {
    const key = `${scope} ${period.name}`;
    const known = this.#counters.get(key);
    if (known !== undefined) return known;
    const promised = this.#read.get(scope, period.name)?.nanos;
    // a cap that is new: what was spent before it was set counts
    const spent = promised === undefined ? this.#spentBefore(scope, period) : Number(promised);
    const counter: Counter = { scope, period, spent, reserved: 0, promised: promised === undefined ? 0 : spent };
    this.#counters.set(key, counter);
    return counter;
  }

  #spentBefore(scope: string, period: Period): number {
    if (this.#pending.size > 0) this.flush();
    const [kind, first = "", second = ""] = scope.split("/");
    const agent = kind === "agent" || kind === "grant" ? first : null;
    const route = kind === "model" ? first : kind === "grant" ? second : null;
    const row = this.#db
      .prepare(
        "select sum(nanos) as nanos from calls where (day=?1 or day like ?1 || '-%') and (?2 is null or agent=?2) and (?3 is null or route=?3)",
      )
      .get(period.name, agent, route);
    return Number(row?.nanos ?? 0);
  }

  #promise(raised: readonly { counter: Counter; to: number }[]): void {
    if (raised.length === 0) return;
    this.#transaction(() => {
      for (const { counter, to } of raised) this.#write.run(counter.scope, counter.period.name, to);
    });
    for (const { counter, to } of raised) counter.promised = to;
  }

  #transaction(body: () => void): void {
    this.#db.exec("begin immediate");
    try {
      body();
      this.#db.exec("commit");
    } catch (error) {
      try {
        this.#db.exec("rollback");
      } catch {
        // SQLite has rolled back by itself
      }
      throw error;
    }
  }
}

function slice(cap: number): number {
  return Math.ceil(cap / SLICES);
}

function scopes(agent: string, route: string): string[] {
  return ["host", `agent/${agent}`, `model/${route}`, `grant/${agent}/${route}`];
}
