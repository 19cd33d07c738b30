import { lookup } from "node:dns/promises";
import type { Judgement, Listener, Probe, ProbedHost, Subject, Verdict } from "../policy/probe.ts";
import { UnprovableError } from "../policy/probe.ts";
import type { HostSpec } from "../spec/host-spec.ts";
import { ReleaseManifest } from "../spec/manifest.ts";
import type { Connection } from "../ssh/connection.ts";
import type { Identity } from "../ssh/identity.ts";
import { letsIn, tryUnwanted } from "../ssh/unwanted.ts";
import { BatchingHost, type HostFacts } from "./host.ts";
import { tryPorts } from "./ports.ts";
import type { OutsideView } from "./probes/outside.ts";
import type { Ports } from "./probes/ports.ts";
import { hostProbes } from "./probes.ts";
import { attemptOnHost } from "./remote.ts";

/** One probe as it went. */
export interface ProbeResult {
  id: string;
  title: string;
  vantage: string;
  expected: string;
  found: string;
  verdict: Verdict;
  /** Why it could not be proven; only with `unprovable`. */
  reason?: string;
  /** Until its facts were there; probes run together, so these do not add up. */
  ms: number;
}

/** What `bailiwick verify --json` prints. */
export interface Report {
  host: string;
  /** Digest of the release that runs. */
  release: string;
  probes: ProbeResult[];
  held: number;
  broken: number;
  unprovable: number;
  /** How many further probes there are, which were not asked for. */
  left: number;
}

export interface VerifyOptions {
  readonly connection: Connection;
  readonly address: { readonly host: string; readonly port: number };
  /** Who is logged in, and with what. */
  readonly admin: string;
  readonly identity: Identity;
  /** With its bindings resolved. */
  readonly spec: HostSpec;
  /** The one-time host key of first contact. */
  readonly bootstrapKey: string;
  /** Only the probes with this in their id. Default: all. */
  readonly only?: string | undefined;
}

/** There is no release on the host: nothing to derive probes from. */
export class NoReleaseError extends Error {}

/** No probe of the host has that in its id. */
export class NoSuchProbeError extends Error {}

/**
 * Tries every boundary of a host. Nothing is changed on it; a probe that could not be tried is `unprovable`.
 * @throws NoReleaseError, NoSuchProbeError, UnreachableError, Error if the host could not run its probes at all
 */
export async function verifyHost(options: VerifyOptions): Promise<Report> {
  const { connection, spec, only } = options;
  const { manifest, facts } = await look(connection);
  const subject: Subject = { spec, manifest };
  const host = new BatchingHost(subject, facts, (batch) => attemptOnHost(connection, batch));
  const all = hostProbes(subject, outsideView(options), await portsOf(options));
  const probes = only === undefined ? all : probesOnly(all, only);
  return { ...(await runProbes(subject, probes, host)), left: all.length - probes.length };
}

/** @throws NoSuchProbeError if there is none */
export function probesOnly(all: readonly Probe[], only: string): Probe[] {
  const probes = all.filter(({ id }) => id.includes(only));
  if (probes.length > 0) return probes;
  throw new NoSuchProbeError(
    `received --only ${JSON.stringify(only)}, which none of the host's ${all.length} probes has in its id; without --only all are listed`,
  );
}

/** Reads the facts of all probes, and judges them. */
export async function runProbes(
  { spec, manifest }: Subject,
  probes: readonly Probe[],
  host: ProbedHost,
): Promise<Omit<Report, "left">> {
  const results = await Promise.all(probes.map((probe) => runProbe(probe, host)));
  const count = (verdict: Verdict) => results.filter((one) => one.verdict === verdict).length;
  return {
    host: spec.name,
    release: manifest.digest,
    probes: results,
    held: count("held"),
    broken: count("broken"),
    unprovable: count("unprovable"),
  };
}

async function runProbe(probe: Probe, host: ProbedHost): Promise<ProbeResult> {
  const started = performance.now();
  const { id, title, vantage, expected } = probe;
  const judgement = await probe.read(host).then(
    (facts) => judge(probe, facts),
    (error: Error): Judgement => {
      if (error instanceof UnprovableError) return { verdict: "unprovable", found: "not tried", reason: error.message };
      throw error; // the connection, or the host's Python: then no probe could be tried
    },
  );
  return { id, title, vantage, expected, ...judgement, ms: Math.round(performance.now() - started) };
}

/** What a host says in a form nobody foresaw takes away its own probe's verdict, never the report on all others. */
function judge(probe: Probe, facts: unknown): Judgement {
  try {
    return probe.judge(facts);
  } catch (error) {
    const reason = `what the host told could not be judged: ${(error as Error).message}`;
    return { verdict: "unprovable", found: "not judged", reason };
  }
}

async function look(connection: Connection): Promise<{ manifest: ReleaseManifest; facts: HostFacts }> {
  const { root } = await attemptOnHost(connection, {
    root: [
      { do: "text", path: "/opt/bailiwick/current/manifest.json" },
      {
        do: "run",
        argv: ["/bin/sh", "-c", "cat /etc/resolv.conf /run/systemd/resolve/resolv.conf 2>/dev/null; true"],
        seconds: 10,
      },
      { do: "listening" },
      { do: "time" },
    ],
    sandboxes: {},
    serve: [],
  });
  const [manifest, resolvers, listening, time] = root;
  if (!manifest?.ok) throw new NoReleaseError("there is no release on this host yet; push one with `bailiwick push`");
  return {
    manifest: ReleaseManifest.parse(JSON.parse(String(manifest.value))),
    facts: {
      resolvers: upstreamResolvers(((resolvers?.value ?? {}) as { stdout?: string }).stdout ?? ""),
      listening: ((listening?.value ?? []) as [Listener["protocol"], string, number][]).map(
        ([protocol, address, port]) => ({ protocol, address, port }),
      ),
      since: Number(time?.value ?? 0),
    },
  };
}

/** Addresses of the name servers of a resolv.conf that are not on the host itself. */
export function upstreamResolvers(resolvConf: string): string[] {
  const found = [...resolvConf.matchAll(/^nameserver\s+([0-9a-fA-F.:]+)\s*(?:[#;].*)?$/gm)].map(
    ([, address = ""]) => address,
  );
  return [...new Set(found)].filter((address) => !/^127\.|^::1$/.test(address));
}

/** A loopback address is a forward's or a tunnel's: what else is there is this machine's own. */
async function portsOf({ address, spec }: VerifyOptions): Promise<Ports | undefined> {
  const { address: ip } = await lookup(address.host);
  if (/^127\.|^::1$/.test(ip)) return undefined;
  return { address: ip, ssh: address.port, from: spec.access.from.map(String), try: tryPorts };
}

function outsideView({ connection, address, admin, identity, bootstrapKey }: VerifyOptions): OutsideView {
  const trust = { kind: "pinned", hostKey: connection.hostKey } as const;
  let asked: ReturnType<OutsideView["unwanted"]> | undefined;
  return {
    contact: connection.contact,
    hostKey: connection.hostKey,
    bootstrapKey,
    unwanted: () => {
      asked ??= tryUnwanted({ ...address, username: admin, identity, trust });
      return asked;
    },
    rootLogin: () => letsIn({ ...address, username: "root", identity, trust }),
  };
}
