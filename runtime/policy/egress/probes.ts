import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { GATEWAY_ADMIN_PORT } from "../../spec/names.ts";
import { refusesBinds } from "../../spec/operating-system.ts";
import {
  broken,
  held,
  mustBeRefused,
  mustFail,
  mustNotLeave,
  refusedAtOnce,
  together,
  unprovable,
  words,
} from "../judgement.ts";
import type { Attempt, Judgement, Outcome, Probe, ProbedHost, Subject } from "../probe.ts";
import { usesGuard } from "../tools/callers.ts";
import { METADATA_IPV4, METADATA_IPV6 } from "./addresses.ts";
import { type EgressForward, forwardLabel } from "./forwards.ts";
import { frontendsOf, hasNames, hostPrincipals, isOffline, type Principal } from "./principals.ts";

// Documentation and benchmark networks: should a rule be missing, what leaves reaches nobody.
const PUBLIC_IPV4 = "198.51.100.7";
const PUBLIC_IPV6 = "2001:db8::7";
const PRIVATE_IPV4 = "198.18.0.7";

/** What a principal meets and root meets, trying the same. */
interface Compared {
  readonly what: string;
  readonly outcome: Outcome;
  readonly byRoot: Outcome;
}

/** What each principal may reach on the network: its granted names, its granted ports, nothing else. */
export function egressProbes(subject: Subject): Probe[] {
  const principals = hostPrincipals(subject.spec);
  // who has no network has no rules that could be tried: see policy/tools/probes.ts
  const networked = principals.filter((principal) => !isOffline(principal));
  return networked.flatMap((principal) => {
    const others = principals.filter(({ id }) => id !== principal.id);
    const egress = principal.kind === "egress";
    return [
      ...(egress ? [proxyDirect(principal)] : [direct(principal), resolver(principal)]),
      metadata(principal),
      ports(subject, principal, others),
      sshd(principal),
      refusesBinds(subject.spec.os) ? binding(principal, principals) : answering(principal, principals),
      ...(hasNames(principal) ? [ungrantedNames(principal, others), noName(principal)] : []),
      ...principal.names.map((name) => grantedName(principal, name)),
      ...principal.zones.map((zone) => grantedZone(principal, zone)),
      ...principal.forwards.map((forward) => grantedForward(principal, forward)),
    ];
  });
}

function about({ id }: Principal, what: string) {
  return { id: `${id}/${what}`, vantage: `principal:${id}` } as const;
}

function compare(principal: Principal, tried: readonly { what: string; attempt: Attempt }[]) {
  return (host: ProbedHost): Promise<Compared[]> =>
    Promise.all(
      tried.map(async ({ what, attempt }) => {
        const [outcome, byRoot] = await Promise.all([host.as(principal.id, attempt), host.root(attempt)]);
        return { what, outcome, byRoot };
      }),
    );
}

const judgeCompared = (facts: readonly Compared[]): Judgement =>
  together(facts.map(({ what, outcome, byRoot }) => mustNotLeave(what, outcome, byRoot)));

function tcp(host: string, port: number) {
  return { what: `tcp ${host}:${port}`, attempt: { do: "connect", host, port } } as const;
}

function udp(host: string, port: number) {
  return { what: `udp ${host}:${port}`, attempt: { do: "udp", host, port } } as const;
}

function direct(principal: Principal): Probe<Compared[]> {
  // with a granted name, TCP 443 is the egress proxy's to judge: see ungrantedNames
  const ports = hasNames(principal) ? [22, 80] : [22, 80, 443];
  return {
    ...about(principal, "direct"),
    title: "reaches no address on the network by itself",
    expected: "TCP and UDP refused, IPv4 and IPv6",
    read: compare(principal, [
      ...ports.map((port) => tcp(PUBLIC_IPV4, port)),
      tcp(PUBLIC_IPV6, 80),
      udp(PUBLIC_IPV4, 443),
      udp(PUBLIC_IPV6, 443),
    ]),
    judge: judgeCompared,
  };
}

function proxyDirect(principal: Principal): Probe<Compared[]> {
  return {
    ...about(principal, "direct"),
    title: "reaches nothing but DNS and public addresses on TCP 443",
    expected: "other ports, UDP, and addresses that are not public refused",
    read: compare(principal, [tcp(PUBLIC_IPV4, 80), tcp(PRIVATE_IPV4, 443), udp(PUBLIC_IPV4, 443)]),
    judge: judgeCompared,
  };
}

function resolver(principal: Principal): Probe<Compared[]> {
  return {
    ...about(principal, "dns"),
    title: "asks no DNS server",
    expected: "the host's upstream resolvers refuse it, by UDP and TCP",
    read: (host) => {
      // without an upstream, the address of nobody: what counts is that port 53 is refused
      const servers = host.resolvers.length > 0 ? host.resolvers : [PUBLIC_IPV4];
      return compare(
        principal,
        servers.flatMap((address) => [udp(address, 53), tcp(address, 53)]),
      )(host);
    },
    // a resolver that takes no TCP refuses root too; UDP, which leaves or does not, decides then
    judge: (facts) =>
      together(
        facts.map(({ what, outcome, byRoot }) => {
          const judgement = mustNotLeave(what, outcome, byRoot);
          const refused = judgement.verdict === "unprovable" && what.startsWith("tcp") && refusedAtOnce(outcome);
          return refused ? held(`${what}: refused (${outcome.errno})`) : judgement;
        }),
      ),
  };
}

function metadata(principal: Principal): Probe<Outcome[]> {
  const addresses = [METADATA_IPV4, METADATA_IPV6];
  return {
    ...about(principal, "metadata"),
    title: "does not reach the cloud's metadata service",
    expected: `${addresses.join(" and ")} refused at once`,
    // root does not try it for comparison: asking for credentials is not verify's to do
    read: (host) =>
      Promise.all(addresses.map((address) => host.as(principal.id, { do: "connect", host: address, port: 80 }))),
    judge: (facts) =>
      together(
        facts.map((outcome, i) => {
          const what = addresses[i] ?? "";
          if (outcome.errno === "ENETUNREACH") return held(`${what}: the host itself has no way there`);
          return refusedAtOnce(outcome)
            ? held(`${what}: refused (${outcome.errno})`)
            : broken(`${what}: ${words(outcome)}`);
        }),
      ),
  };
}

interface LocalPort {
  readonly what: string;
  readonly outcome: Outcome;
  readonly listens: boolean;
}

const judgeLocal = (facts: readonly LocalPort[]): Judgement =>
  together(facts.map(({ what, outcome, listens }) => mustBeRefused(what, outcome, listens)));

function local(principal: Principal, targets: readonly { what: string; port: number }[]) {
  return (host: ProbedHost): Promise<LocalPort[]> =>
    Promise.all(targets.map(async ({ what, port }) => ({ what, ...(await host.reach(principal.id, port)) })));
}

function ports(subject: Subject, principal: Principal, others: readonly Principal[]): Probe<LocalPort[]> {
  const { invoke } = subject.spec.grants;
  const granted = (other: Principal) =>
    (principal.kind === "agent" && other.kind === "gateway" && invoke.some(({ agent }) => agent === principal.name)) ||
    (principal.kind === "agent" && other.kind === "guard" && usesGuard(subject.spec, principal.name)) ||
    (principal.kind === "gateway" && other.kind === "model" && invoke.some(({ model }) => model === other.name));
  const targets = others.flatMap((other) => [
    ...(other.port === null || granted(other) ? [] : [{ what: `port ${other.port} of ${other.id}`, port: other.port }]),
    // what it counts is root's to read, whoever may call a model
    ...(other.kind === "gateway"
      ? [{ what: `counts of ${other.id}, port ${GATEWAY_ADMIN_PORT}`, port: GATEWAY_ADMIN_PORT }]
      : []),
    ...frontendsOf(other).map((port) => ({ what: `egress of ${other.id}, port ${port}`, port })),
  ]);
  return {
    ...about(principal, "ports"),
    title: "reaches no port of another principal without a grant",
    expected: targets.length === 0 ? "there is no other port" : `${targets.map(({ port }) => port).join(", ")} refused`,
    read: local(principal, targets),
    judge: (facts) =>
      facts.length === 0 ? held("no other principal has a port that is not granted") : judgeLocal(facts),
  };
}

function sshd(principal: Principal): Probe<LocalPort[]> {
  return {
    ...about(principal, "sshd"),
    title: "does not reach the host's sshd",
    expected: "127.0.0.1:22 refused",
    read: local(principal, [{ what: "127.0.0.1:22", port: 22 }]),
    judge: judgeLocal,
  };
}

/** The port from 8080 on that belongs to no principal, after some others. */
function nobodysPort(all: readonly Principal[], after = 0): number {
  // a principal's own frontend of the egress proxy is nobody's to serve but the proxy's, and it is free if it has no name
  const taken = new Set(all.flatMap((one) => [one.port, ...frontendsOf(one)]));
  let left = after;
  for (let port = 8080; ; port++) if (!taken.has(port) && left-- === 0) return port;
}

/** Where systemd cannot refuse a port: that who serves on it is answered by nobody, and who does so as root is. */
function answering(principal: Principal, all: readonly Principal[]): Probe<readonly Compared[]> {
  // of its own: others are tried at the same time
  const port = nobodysPort(all, all.indexOf(principal));
  return {
    ...about(principal, "bind"),
    vantage: "root",
    title: "is heard on no port but its own",
    expected: `no connection to port ${port} while its user listens there`,
    read: async (host) => {
      const found: Compared[] = [];
      // one after the other: root listens on the same port
      for (const address of ["127.0.0.1", "::1"]) {
        const as = (uid: number) => host.root({ do: "serve-as", uid, host: address, port });
        const byRoot = await as(0);
        found.push({ what: `${address}:${port}`, outcome: await as(principal.uid), byRoot });
      }
      return found;
    },
    judge: (facts) =>
      together(
        facts.map(({ what, outcome, byRoot }) => {
          if (byRoot.errno === "CANNOT_LISTEN")
            return unprovable(`${what}: in use`, `something serves on ${what} already`);
          return byRoot.ok
            ? mustFail(what, outcome)
            : unprovable(what, `root is not heard there either: ${words(byRoot)}`);
        }),
      ),
  };
}

function binding(principal: Principal, all: readonly Principal[]): Probe<Outcome[]> {
  const port = nobodysPort(all);
  const hosts = ["127.0.0.1", "0.0.0.0", "::1"];
  return {
    ...about(principal, "bind"),
    title: "serves on no port but its own",
    expected: `binding port ${port} refused`,
    read: (host) => Promise.all(hosts.map((address) => host.as(principal.id, { do: "bind", host: address, port }))),
    judge: (facts) =>
      together(
        facts.map((outcome, i) => {
          const what = `${hosts[i]}:${port}`;
          if (outcome.errno === "EADDRINUSE")
            return unprovable(`${what}: in use`, `something serves on ${what} already`);
          if (outcome.errno === "EADDRNOTAVAIL") return held(`${what}: the host has no such address`);
          return refusedAtOnce(outcome) ? held(`${what}: ${outcome.errno}`) : broken(`${what}: ${words(outcome)}`);
        }),
      ),
  };
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

function ungrantedNames(principal: Principal, others: readonly Principal[]): Probe<NamedAttempt[]> {
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

function noName(principal: Principal): Probe<NamedAttempt> {
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

interface GrantedName extends NamedAttempt {
  /** Whether the host itself resolves the name, and whether root reaches it. */
  readonly resolved: Outcome;
  readonly byRoot: Outcome;
}

function grantedName(principal: Principal, name: string): Probe<GrantedName> {
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
      return { name, outcome: known.ok ? outcome : known, verdict, resolved, byRoot };
    },
    judge: ({ outcome, verdict, resolved, byRoot }) => {
      if (outcome.ok) return held("handshake done");
      if (outcome.errno === "UNRESOLVED") return broken("the name does not resolve in the sandbox");
      if (verdict === null) return broken(`${words(outcome)}; the egress proxy logged nothing of it`);
      if (verdict === "unlisted") return broken("the egress proxy turns it away: unlisted");
      if (verdict === "private-address") return broken("the name leads to an address that is not public");
      if (verdict === "only-ipv4") return broken(ONLY_IPV4);
      if (!resolved.ok)
        return unprovable(
          `${verdict}`,
          "the host itself cannot resolve the name: it has no way to a resolver, or there is no such name",
        );
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

function grantedZone(principal: Principal, zone: string): Probe<ZoneAttempt> {
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
  /** How the proxy's connection ended, as HAProxy writes it: `SC` when the other end took none. */
  readonly end: string | null;
}

function grantedForward(principal: Principal, forward: EgressForward): Probe<ForwardAttempt> {
  const { host, port, dialled, frontend } = forward;
  const label = forwardLabel(forward);
  const granted = principal.forwards.filter((other) => other.dialled === dialled).map((other) => other.port);
  const beside = [80, 81, 82, 83].find((one) => !granted.includes(one)) ?? 84;
  return {
    ...about(principal, `connect/${label}`),
    title: `reaches port ${port} of ${host}, which is granted, and no other port of it`,
    expected: `a connection by the egress proxy; port ${beside} refused`,
    read: async (view) => {
      const [outcome, other] = await Promise.all([
        view.as(principal.id, { do: "connect", host: dialled, port }),
        view.as(principal.id, { do: "connect", host: dialled, port: beside }),
      ]);
      // the proxy logs a connection once it has ended, and gives up on one that nobody takes after five seconds
      let line: string | undefined;
      for (let patience = 6; line === undefined && outcome.ok && patience > 0; patience--) {
        if (patience < 6) await sleep(1500);
        line = (await view.egressLog()).findLast((one) => one.includes(`principal=${principal.id} sni=${label} `));
      }
      const of = (field: string) => new RegExp(`\\b${field}=(\\S+)`).exec(line ?? "")?.[1] ?? null;
      return { outcome, beside: other, verdict: of("verdict"), end: of("end") };
    },
    judge: ({ outcome, beside: other, verdict, end }) => {
      if (other.ok) return broken(`port ${beside}: reached`);
      if (!refusedAtOnce(other)) return broken(`port ${beside}: ${words(other)}`);
      if (!outcome.ok) return broken(`${words(outcome)}: the egress proxy takes nothing at ${frontend}`);
      if (verdict === null) return unprovable("taken by the egress proxy", "it logged nothing of it");
      if (verdict === "private-address") return broken("the name leads to an address that is not public");
      if (verdict === "only-ipv4") return broken(ONLY_IPV4);
      if (verdict === "unresolved") return unprovable(verdict, "no resolver of the host knows the name now");
      if (verdict !== "allowed") return broken(verdict);
      return end?.startsWith("S")
        ? unprovable("allowed, and connected to nobody", "the other end takes no connection now")
        : held("connected");
    },
  };
}
