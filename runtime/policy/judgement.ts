import type { Judgement, Outcome } from "./probe.ts";

export function held(found: string): Judgement {
  return { verdict: "held", found };
}

export function broken(found: string): Judgement {
  return { verdict: "broken", found };
}

export function unprovable(found: string, reason: string): Judgement {
  return { verdict: "unprovable", found, reason };
}

/** Held if there is nothing wrong, else broken by all of it. */
export function unless(problems: readonly string[], good: string): Judgement {
  return problems.length === 0 ? held(good) : broken(shorten(problems));
}

/** Several judgements as one: what is broken decides, then what is unprovable. */
export function together(judgements: readonly Judgement[]): Judgement {
  const of = (verdict: Judgement["verdict"]) => judgements.filter((one) => one.verdict === verdict);
  const texts = (some: readonly Judgement[]) => shorten([...new Set(some.map((one) => one.found))]);
  if (of("broken").length > 0) return broken(texts(of("broken")));
  const open = of("unprovable");
  if (open.length > 0) return unprovable(texts(open), shorten([...new Set(open.map((one) => one.reason ?? ""))]));
  return judgements.length === 0
    ? unprovable("nothing was tried", "there was nothing to try")
    : held(texts(judgements));
}

/** Up to five of them in one line. */
export function shorten(texts: readonly string[]): string {
  const shown = texts.slice(0, 5).join("; ");
  return texts.length > 5 ? `${shown}; and ${texts.length - 5} more` : shown;
}

/** What a firewall's refusal looks like to whom it refuses: reset, admin-prohibited, or no leave to send. */
const REFUSED_HERE: readonly (string | null)[] = ["ECONNREFUSED", "EPERM", "EACCES", "EHOSTUNREACH"];

/**
 * An answer from elsewhere that looks the same takes longer: nobody answers to an address for which nobody speaks, and that is
 * told after three seconds. A refusal of one's own can be late too: Linux leaves one that comes while the socket is in use, and
 * asks again after one second.
 */
const AT_ONCE_MS = 2000;

export function refusedAtOnce(outcome: Outcome): boolean {
  return !outcome.ok && REFUSED_HERE.includes(outcome.errno) && outcome.ms < AT_ONCE_MS;
}

/** What an attempt met, in words. */
export function words(outcome: Outcome): string {
  if (outcome.ok) return "allowed";
  if (outcome.errno === "ETIMEDOUT") return "no answer, and nothing refused it";
  if (outcome.errno === "BROKEN_ATTEMPT") return `the attempt itself failed: ${String(outcome.value)}`;
  return outcome.errno ?? "failed";
}

/**
 * Judges a packet that must not leave the host. Root, whom no rule holds, tries the same: what it is refused as well
 * proves nothing; what it finds no way for, nobody on this host can reach.
 */
export function mustNotLeave(what: string, outcome: Outcome, byRoot: Outcome): Judgement {
  if (outcome.ok) return broken(`${what}: reached`);
  if (outcome.errno === "BROKEN_ATTEMPT") return unprovable(`${what}: ${words(outcome)}`, "the attempt failed");
  const noWay = (one: Outcome) => one.errno === "ENETUNREACH" || one.errno === "EAFNOSUPPORT";
  if (noWay(byRoot) && !outcome.ok) return held(`${what}: the host itself has no way there`);
  if (!refusedAtOnce(outcome)) return broken(`${what}: ${words(outcome)}`);
  if (refusedAtOnce(byRoot))
    return unprovable(`${what}: ${words(outcome)}`, `root is refused ${what} as well (${words(byRoot)})`);
  return held(`${what}: refused (${outcome.errno})`);
}

/** Judges a connection to something on the host itself that must be refused; where nothing listens, all are refused. */
export function mustBeRefused(what: string, outcome: Outcome, listens: boolean): Judgement {
  if (refusedAtOnce(outcome))
    return listens
      ? held(`${what}: refused (${outcome.errno})`)
      : unprovable(`${what}: ${words(outcome)}`, `nothing listens at ${what} now`);
  return broken(`${what}: ${words(outcome)}`);
}

/** Judges something that must not be possible, whatever the reason it fails for. */
export function mustFail(what: string, outcome: Outcome): Judgement {
  if (outcome.ok) return broken(`${what}: allowed`);
  if (outcome.errno === "BROKEN_ATTEMPT") return unprovable(`${what}: ${words(outcome)}`, "the attempt failed");
  return held(`${what}: ${outcome.errno}`);
}
