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
import {
  about,
  grantedForward,
  grantedName,
  grantedZone,
  noName,
  PUBLIC_IPV4,
  ungrantedNames,
} from "./granted-probes.ts";
import { frontendsOf, hasNames, hostPrincipals, isOffline, type Principal } from "./principals.ts";

// Benchmark and documentation networks, as PUBLIC_IPV4 is: should a rule be missing, what leaves reaches nobody.
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
