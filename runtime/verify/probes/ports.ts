import { randomInt } from "node:crypto";
import { isIPv4 } from "node:net";
import { broken, held, shorten, unprovable } from "../../policy/judgement.ts";
import type { Outcome, Probe, ProbedHost } from "../../policy/probe.ts";
import { UnprovableError } from "../../policy/probe.ts";
import type { PortAnswer } from "../ports.ts";

/** How ports of the host are reached from where the operator is. */
export interface Ports {
  /** IP address that the operator's connection goes to, and its port. */
  readonly address: string;
  readonly ssh: number;
  /** Networks that may reach sshd. */
  readonly from: readonly string[];
  try(protocol: "tcp" | "udp", address: string, ports: readonly number[]): Promise<Map<number, PortAnswer>>;
}

/** What is found open on hosts on the internet: remote shells, file shares, databases, proxies, container and agent APIs. */
const USUAL = {
  tcp: [
    ...[21, 23, 25, 53, 80, 110, 111, 139, 143, 389, 443, 445, 631, 873, 1080, 1433, 2049, 2222, 2375, 2376, 2379],
    ...[3000, 3128, 3306, 3389, 4000, 4001, 5000, 5432, 5900, 5985, 6379, 6443, 8000, 8080, 8443, 8888, 9090, 9100],
    ...[9200, 10250, 11211, 11434, 18789, 19531, 27017],
  ],
  udp: [53, 67, 69, 111, 123, 137, 161, 443, 500, 514, 623, 1194, 1900, 4500, 5353, 5355, 5683, 11211, 51820],
} as const;

/** Beside them some that nobody would think of, others at each run. */
const AT_RANDOM = 16;

interface Facts {
  /** Undefined: the host has no public address of this family. */
  readonly answers: ReadonlyMap<number, PortAnswer> | undefined;
  /** How the SSH port answered at the same address. */
  readonly ssh: PortAnswer | undefined;
}

/**
 * That nothing but sshd answers from outside, by IPv4 and IPv6, TCP and UDP. A host that is reached by a forwarded port or
 * a tunnel has no address that could be tried from here: no probe is made.
 */
export function portProbes(ports: Ports | undefined): Probe[] {
  if (ports === undefined) return [];
  return (["ipv4", "ipv6"] as const).flatMap((family) =>
    (["tcp", "udp"] as const).map((protocol) => nothingAnswers(ports, family, protocol)),
  );
}

function nothingAnswers(ports: Ports, family: "ipv4" | "ipv6", protocol: "tcp" | "udp"): Probe<Facts> {
  return {
    id: `outside/ports-${family}-${protocol}`,
    vantage: "outside",
    title: `no ${protocol} port ${protocol === "tcp" ? "but sshd's " : ""}answers by ${family === "ipv4" ? "IPv4" : "IPv6"}, also none that something listens on`,
    expected: "silence",
    read: async (host) => {
      const address = await addressOf(ports, family, host);
      if (address === undefined) return { answers: undefined, ssh: undefined };
      const listening = host.listening.filter((one) => one.protocol === protocol).map(({ port }) => port);
      const random = Array.from({ length: AT_RANDOM }, () => randomInt(1, 65536));
      const wanted = new Set([...USUAL[protocol], ...listening, ...random]);
      if (protocol === "tcp") wanted.delete(ports.ssh);
      const [answers, ssh] = await Promise.all([
        ports.try(protocol, address, [...wanted]),
        ports.try("tcp", address, [ports.ssh]),
      ]);
      return { answers, ssh: ssh.get(ports.ssh) };
    },
    judge: ({ answers, ssh }) => {
      if (answers === undefined) return held(`the host has no public ${family === "ipv4" ? "IPv4" : "IPv6"} address`);
      const of = (wanted: PortAnswer) => [...answers].filter(([, answer]) => answer === wanted).map(([port]) => port);
      // what listens on the host's loopback alone is refused if the firewall lets packets through: so that is not closed
      const met = [
        ...of("open").map((port) => `${port} answers`),
        ...of("refused").map((port) => `${port} is refused, not dropped`),
      ];
      if (met.length > 0) return broken(shorten(met));
      if (of("no way").length > 0)
        return unprovable("not tried", `this machine has no way to the host's ${family} address`);
      if (ssh === "open") return held(`${answers.size} ports silent`);
      // then packets may as well have been lost on the way, but where nobody is let in, silence is all there is to be met
      if (ports.from.some((network) => network.includes(":") === (family === "ipv6")))
        return unprovable(`${answers.size} ports silent`, `sshd does not answer at ${family} either`);
      return held(`${answers.size} ports silent, and sshd, to which access lets nobody by ${family}`);
    },
  };
}

/** The address of this connection, or what the host says is its own in the other family; private ones are nobody's way in. */
async function addressOf({ address }: Ports, family: "ipv4" | "ipv6", host: ProbedHost): Promise<string | undefined> {
  if (isIPv4(address) === (family === "ipv4")) return address;
  const own = await host.root({
    do: "run",
    argv: ["ip", family === "ipv4" ? "-4" : "-6", "-o", "addr", "show", "scope", "global", "up"],
    seconds: 10,
  });
  if (!own.ok) throw new UnprovableError("the host did not tell its addresses");
  return publicAddresses(own)[0];
}

/** Of what `ip -o addr` printed. */
export function publicAddresses(outcome: Outcome): string[] {
  const { stdout = "" } = (outcome.value ?? {}) as { stdout?: string };
  const found = [...stdout.matchAll(/\sinet6? ([0-9a-f.:]+)\/\d+ (?!.*\b(?:deprecated|temporary|tentative)\b)/gm)].map(
    ([, address = ""]) => address,
  );
  return found.filter(
    (address) =>
      !/^(10\.|127\.|169\.254\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|f[cde])/.test(
        address,
      ),
  );
}
