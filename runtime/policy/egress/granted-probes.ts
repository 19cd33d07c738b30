import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { broken, held, mustFail, refusedAtOnce, together, unprovable, words } from "../judgement.ts";
import type { Judgement, Outcome, Probe, ProbedHost } from "../probe.ts";
import { type EgressForward, forwardLabel } from "./forwards.ts";
import type { Principal } from "./principals.ts";

// What goes by the egress proxy: granted names, wildcards and ports, and what is like them and not granted.

/** Of a documentation network: should a rule be missing, what leaves reaches nobody. */
export const PUBLIC_IPV4 = "198.51.100.7";

/** Id and vantage of a probe that a principal tries. */
export function about({ id }: Principal, what: string) {
  return { id: `${id}/${what}`, vantage: `principal:${id}` } as const;
}

interface NamedAttempt {
  readonly name: string;
  readonly outcome: Outcome;
  /** The egress proxy's verdict in its log: `allowed`, `unlisted`, `unresolved`, … */
  readonly verdict: string | null;
}

/** The proxy's verdict on a principal's last connection with this server name; `-` is none. */
export function egressVerdict(log: readonly string[], principal: string, name: string): string | null {
  const mine = log.map((line) => /\begress principal=(\S+) sni=(\S+) .*\bverdict=(\S+)/.exec(line));
  return mine.filter((found) => found?.[1] === principal && found[2] === name).at(-1)?.[3] ?? null;
}

/**
 * What the proxy logged of an attempt. It logs a connection when it has ended, and it gives up on a name that no resolver
 * answers for later than its client does, so a connection it took is looked for again for a while.
 */
async function verdictOn(host: ProbedHost, principal: Principal, name: string, outcome: Outcome) {
  for (let patience = 5; ; patience--) {
    const verdict = egressVerdict(await host.egressLog(), principal.id, name);
    if (verdict !== null || outcome.errno !== "HANDSHAKE" || patience === 0) return verdict;
    await sleep(1500);
  }
}

export function ungrantedNames(principal: Principal, others: readonly Principal[]): Probe<NamedAttempt[]> {
  const zoneOf = (name: string) => name.slice(name.indexOf(".") + 1);
  const elsewhere = others
    .flatMap(({ names }) => names)
    .filter((name) => !principal.names.includes(name) && !principal.zones.includes(zoneOf(name)));
  // a name that is nobody's (RFC 2606), new each time, so that its line in the log is this run's
  const made = `probe-${randomBytes(6).toString("hex")}.invalid`;
  const names = [made, ...new Set(elsewhere)].slice(0, 4);
  return {
    ...about(principal, "ungranted-names"),
    title: "reaches no name that is not granted to it",
    expected: "the egress proxy turns them away: unlisted",
    read: async (host) => {
      const outcomes = await Promise.all(
        names.map((name) => host.as(principal.id, { do: "tls", host: PUBLIC_IPV4, port: 443, name })),
      );
      return Promise.all(
        outcomes.map(async (outcome, i) => {
          const name = names[i] ?? "";
          return { name, outcome, verdict: await verdictOn(host, principal, name, outcome) };
        }),
      );
    },
    judge: (facts) =>
      together(facts.map((fact) => judgeTurnedAway(fact.name === made ? "a made-up name" : fact.name, fact))),
  };
}

export function noName(principal: Principal): Probe<NamedAttempt> {
  return {
    ...about(principal, "no-name"),
    title: "reaches no address by TLS without a server name",
    expected: "the egress proxy turns it away: unlisted",
    read: async (host) => {
      const outcome = await host.as(principal.id, { do: "tls", host: PUBLIC_IPV4, port: 443, name: null });
      return { name: "-", outcome, verdict: await verdictOn(host, principal, "-", outcome) };
    },
    judge: (fact) => judgeTurnedAway("no name", fact),
  };
}

function judgeTurnedAway(what: string, { outcome, verdict }: NamedAttempt): Judgement {
  if (outcome.ok) return broken(`${what}: reached`);
  if (verdict === "unlisted") return held(`${what}: unlisted`);
  if (verdict !== null) return broken(`${what}: the egress proxy let it through, then: ${verdict}`);
  if (refusedAtOnce(outcome))
    return unprovable(`${what}: ${words(outcome)}`, "the egress proxy does not answer, so its list was not tried");
  if (outcome.errno === "HANDSHAKE")
    return unprovable(`${what}: turned away`, "the egress proxy logged no verdict on it");
  return broken(`${what}: ${words(outcome)}, and not by way of the egress proxy`);
}

const ONLY_IPV4 =
  "the name has IPv4 addresses alone, and this host has a way to IPv6 alone: give it IPv4, or another name";

/** What glibc says when no name server gave an answer: EAI_AGAIN. */
const NO_ANSWER = /^\[Errno -3\]/;

/** The proxy lets a granted name pass before it resolves it: so much is seen, and the rest is the name servers'. */
function unresolved(resolved: Outcome, resolvers: readonly string[]): Judgement {
  const servers = `the host's name servers (${resolvers.join(", ")})`;
  const why =
    resolvers.length === 0
      ? "the host has no name server: give its network one"
      : NO_ANSWER.test(String(resolved.value))
        ? `${servers} give no answer: see that they do; a local machine has a new way to them after \`bailiwick local stop\` and \`start\``
        : `${servers} know no such name: write it as it is, or take the grant away`;
  return unprovable("admitted by the egress proxy, then unresolved", `${why}; then verify again`);
}

interface GrantedName extends NamedAttempt {
  /** Whether the host itself resolves the name, and whether root reaches it. */
  readonly resolved: Outcome;
  readonly byRoot: Outcome;
  readonly resolvers: readonly string[];
}

export function grantedName(principal: Principal, name: string): Probe<GrantedName> {
  return {
    ...about(principal, `name/${name}`),
    title: `reaches ${name}, which is granted`,
    expected: "a TLS handshake, by the name as the sandbox resolves it",
    read: async (host) => {
      const attempt = { do: "tls", host: PUBLIC_IPV4, port: 443, name } as const;
      const [known, outcome, resolved] = await Promise.all([
        host.as(principal.id, { do: "resolve", name }),
        host.as(principal.id, attempt),
        host.root({ do: "resolve", name }),
      ]);
      const addresses = Array.isArray(resolved.value) ? resolved.value.map(String) : [];
      const [verdict, byRoot] = await Promise.all([
        verdictOn(host, principal, name, outcome),
        outcome.ok || addresses[0] === undefined
          ? outcome
          : host.root({ do: "tls", host: addresses[0], port: 443, name }),
      ]);
      return { name, outcome: known.ok ? outcome : known, verdict, resolved, byRoot, resolvers: host.resolvers };
    },
    judge: ({ outcome, verdict, resolved, byRoot, resolvers }) => {
      if (outcome.ok) return held("handshake done");
      if (outcome.errno === "UNRESOLVED") return broken("the name does not resolve in the sandbox");
      if (verdict === null) return broken(`${words(outcome)}; the egress proxy logged nothing of it`);
      if (verdict === "unlisted") return broken("the egress proxy turns it away: unlisted");
      if (verdict === "private-address") return broken("the name leads to an address that is not public");
      if (verdict === "only-ipv4") return broken(ONLY_IPV4);
      if (verdict === "unresolved" && !resolved.ok) return unresolved(resolved, resolvers);
      if (!byRoot.ok)
        return unprovable(
          `${verdict}, but no handshake`,
          `root does not reach it either (${words(byRoot)}): the host has no way to it`,
        );
      return broken(`${verdict}, but no handshake, while root reaches it`);
    },
  };
}

interface ZoneAttempt {
  /** A name below it, and what the sandbox resolves it to; the domain itself and a name of two labels below, which are not granted. */
  readonly below: NamedAttempt;
  readonly resolved: Outcome;
  readonly beside: readonly NamedAttempt[];
  /** What the sandbox resolves the name of two labels to. */
  readonly deeper: Outcome;
}

export function grantedZone(principal: Principal, zone: string): Probe<ZoneAttempt> {
  // hardly anybody's, and new each time; that there is no such name is seen after the proxy has admitted it
  const label = `bailiwick-${randomBytes(6).toString("hex")}`;
  const deeper = `${label}.${label}.${zone}`;
  const beside = [...(principal.names.includes(zone) ? [] : [zone]), deeper];
  return {
    ...about(principal, `wildcard/*.${zone}`),
    title: `reaches any name of one label below ${zone}, which is granted, and neither ${zone} itself nor what is deeper`,
    expected: "the egress proxy admits a made-up one; the others do not resolve, or are turned away: unlisted",
    read: async (host) => {
      const tried = async (name: string): Promise<NamedAttempt> => {
        const outcome = await host.as(principal.id, { do: "tls", host: PUBLIC_IPV4, port: 443, name });
        return { name, outcome, verdict: await verdictOn(host, principal, name, outcome) };
      };
      const resolve = (name: string) => host.as(principal.id, { do: "resolve", name });
      const [below, resolved, deeperResolved, ...others] = await Promise.all([
        tried(`${label}.${zone}`),
        resolve(`${label}.${zone}`),
        resolve(deeper),
        ...beside.map(tried),
      ]);
      return { below, resolved, beside: others, deeper: deeperResolved };
    },
    judge: ({ below, resolved, beside: others, deeper: deeperResolved }) =>
      together([
        judgeAdmitted(below, resolved),
        ...others.map((attempt) => judgeTurnedAway(attempt.name === zone ? zone : "a name of two labels", attempt)),
        mustFail("resolving a name of two labels", deeperResolved),
      ]),
  };
}

function judgeAdmitted({ outcome, verdict }: NamedAttempt, resolved: Outcome): Judgement {
  const what = "a made-up name below it";
  if (!resolved.ok) return broken(`${what} does not resolve in the sandbox: ${words(resolved)}`);
  if (outcome.ok) return held(`${what}: handshake done`);
  if (verdict === null)
    return refusedAtOnce(outcome)
      ? broken(`${what}: the egress proxy does not answer`)
      : unprovable(`${what}: ${words(outcome)}`, "the egress proxy logged no verdict on it");
  return verdict === "unlisted" ? broken(`${what}: unlisted`) : held(`${what}: admitted, then ${verdict}`);
}

interface ForwardAttempt {
  /** Connecting to what is granted, and to a port of it that is not. */
  readonly outcome: Outcome;
  readonly beside: Outcome;
  readonly verdict: string | null;
  /** Whether the host itself resolves the name. */
  readonly resolved: Outcome;
  readonly resolvers: readonly string[];
  /** How the proxy's connection ended, as HAProxy writes it: `SC` when the other end took none. */
  readonly end: string | null;
}

export function grantedForward(principal: Principal, forward: EgressForward): Probe<ForwardAttempt> {
  const { host, port, dialled, frontend } = forward;
  const label = forwardLabel(forward);
  const granted = principal.forwards.filter((other) => other.dialled === dialled).map((other) => other.port);
  const beside = [80, 81, 82, 83].find((one) => !granted.includes(one)) ?? 84;
  return {
    ...about(principal, `connect/${label}`),
    title: `reaches port ${port} of ${host}, which is granted, and no other port of it`,
    expected: `a connection by the egress proxy; port ${beside} refused`,
    read: async (view) => {
      const [outcome, other, resolved] = await Promise.all([
        view.as(principal.id, { do: "connect", host: dialled, port }),
        view.as(principal.id, { do: "connect", host: dialled, port: beside }),
        view.root({ do: "resolve", name: host }),
      ]);
      // the proxy logs a connection once it has ended, and gives up on one that nobody takes after five seconds
      let line: string | undefined;
      for (let patience = 6; line === undefined && outcome.ok && patience > 0; patience--) {
        if (patience < 6) await sleep(1500);
        line = (await view.egressLog()).findLast((one) => one.includes(`principal=${principal.id} sni=${label} `));
      }
      const of = (field: string) => new RegExp(`\\b${field}=(\\S+)`).exec(line ?? "")?.[1] ?? null;
      return { outcome, beside: other, verdict: of("verdict"), end: of("end"), resolved, resolvers: view.resolvers };
    },
    judge: ({ outcome, beside: other, verdict, end, resolved, resolvers }) => {
      if (other.ok) return broken(`port ${beside}: reached`);
      if (!refusedAtOnce(other)) return broken(`port ${beside}: ${words(other)}`);
      if (!outcome.ok) return broken(`${words(outcome)}: the egress proxy takes nothing at ${frontend}`);
      if (verdict === null) return unprovable("taken by the egress proxy", "it logged nothing of it");
      if (verdict === "private-address") return broken("the name leads to an address that is not public");
      if (verdict === "only-ipv4") return broken(ONLY_IPV4);
      if (verdict === "unresolved")
        return resolved.ok
          ? unprovable(verdict, "the host itself resolves the name since: verify again")
          : unresolved(resolved, resolvers);
      if (verdict !== "allowed") return broken(verdict);
      return end?.startsWith("S")
        ? unprovable("allowed, and connected to nobody", "the other end takes no connection now")
        : held("connected");
    },
  };
}
