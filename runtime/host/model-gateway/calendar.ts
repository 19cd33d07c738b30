/** A calendar day or month of a time zone, as the ledger names it: `2026-11-26`, `2026-11`. */
export interface Period {
  readonly kind: "day" | "month";
  readonly name: string;
  /** When the next one begins, ms since 1970. */
  readonly endsAt: number;
}

const HOUR = 3_600_000;

/** Calendar days and months of one time zone. Days of 23 and 25 hours are days: all goes by the date on the wall. */
export class Calendar {
  readonly #format: Intl.DateTimeFormat;
  #day: (Period & { startsAt: number }) | undefined;
  #month: (Period & { startsAt: number }) | undefined;

  /** @param timeZone IANA name; @throws RangeError for one that is not known */
  constructor(timeZone: string) {
    this.#format = new Intl.DateTimeFormat("en-CA", {
      timeZone,
      calendar: "gregory",
      numberingSystem: "latn",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
    });
  }

  day(now: number): Period {
    if (this.#day === undefined || now < this.#day.startsAt || now >= this.#day.endsAt)
      this.#day = this.#period("day", now, 26 * HOUR);
    return this.#day;
  }

  month(now: number): Period {
    if (this.#month === undefined || now < this.#month.startsAt || now >= this.#month.endsAt)
      this.#month = this.#period("month", now, 32 * 24 * HOUR);
    return this.#month;
  }

  #period(kind: "day" | "month", now: number, longest: number): Period & { startsAt: number } {
    const name = this.#name(kind, now);
    // `startsAt` is when it was first asked for: a clock that is set back is asked anew, the past need not be known
    return { kind, name, startsAt: now, endsAt: this.#end(kind, name, now, now + longest) };
  }

  /** The first instant after `from` at which the name is another; at `to` it is. */
  #end(kind: "day" | "month", name: string, from: number, to: number): number {
    let [same, other] = [from, to];
    while (other - same > 1) {
      const middle = Math.floor((same + other) / 2);
      if (this.#name(kind, middle) === name) same = middle;
      else other = middle;
    }
    return other;
  }

  #name(kind: "day" | "month", at: number): string {
    const day = this.#format.format(at);
    return kind === "day" ? day : day.slice(0, -3);
  }
}
