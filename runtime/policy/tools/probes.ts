import { GUARD_PORT } from "../../spec/names.ts";
import { METADATA_IPV4 } from "../egress/addresses.ts";
import { hasNames, hostPrincipals, type Principal } from "../egress/principals.ts";
import { broken, held, mustFail, together, unless, unprovable, words } from "../judgement.ts";
import type { Attempt, Outcome, Probe, Subject } from "../probe.ts";
import { ADMIN_SOCKET, guardConfig, serverSocket } from "./guard-config.ts";
import { GuardConfig } from "./schema.ts";

/** What the probe units hold in place of a token; see the release's probe units. */
const DUMMY_TOKEN = "dummy";

/** Who may call which tools: only through the guard, which asks for a token; servers are alone with it. */
export function toolProbes(subject: Subject): Probe[] {
  const principals = hostPrincipals(subject.spec);
  const guard = principals.find(({ kind }) => kind === "guard");
  if (guard === undefined) return [];
  const servers = principals.filter(({ kind }) => kind === "mcp");
  return [
    ...(subject.spec.grants.call ?? []).map(({ agent, server }) => asksForToken(agent, server)),
    grants(subject),
    trusted(),
    socketOwners(servers, guard),
    ...principals.map((principal) => sockets(principal, servers)),
    ...servers.filter((server) => !hasNames(server)).map(offline),
  ];
}

function asksForToken(agent: string, server: string): Probe<Outcome> {
  return {
    id: `agent/${agent}/tools/${server}`,
    vantage: `principal:agent/${agent}`,
    title: `reaches MCP server "${server}" through the guard, which asks for its token`,
    expected: "401 to a token that is none",
    read: (host) =>
      host.as(`agent/${agent}`, {
        do: "http",
        port: GUARD_PORT,
        path: `/${server}`,
        headers: { authorization: `Bearer ${DUMMY_TOKEN}` },
      }),
    judge: (outcome) => {
      if (outcome.value === 401) return held("401");
      if (outcome.ok) return broken(`${String(outcome.value)} to a token that is none`);
      return broken(`the guard did not answer: ${words(outcome)}`);
    },
  };
}

/** Of the guard's configuration, what the spec decides. */
function decided({ listen, agents, servers }: GuardConfig) {
  return { listen, agents: agents.map(({ agent }) => agent), servers };
}

function grants({ spec }: Subject): Probe<Outcome> {
  const wanted = decided(guardConfig(spec, () => ["0".repeat(64)]));
  const granted = (spec.grants.call ?? []).reduce((sum, { tools }) => sum + tools.length, 0);
  return {
    id: "root/tool-grants",
    vantage: "root",
    title: "the guard's configuration holds the granted tools as pinned, and no others",
    expected: `${wanted.servers.length} servers, ${granted} tools granted, tokens of ${wanted.agents.join(", ") || "nobody"}`,
    read: (host) => host.root({ do: "text", path: "/opt/bailiwick/current/etc/guard/guard.json" }),
    judge: (outcome) => {
      if (!outcome.ok) return broken(`the configuration cannot be read: ${words(outcome)}`);
      const parsed = parse(String(outcome.value));
      if (parsed === undefined) return unprovable("not this kit's", "the configuration is not in this kit's format");
      const found = decided(parsed);
      const text = (value: unknown) => JSON.stringify(value, sorted);
      return unless(
        [
          ...found.servers
            .filter((one) => !wanted.servers.some((other) => text(other) === text(one)))
            .map(({ name }) => `not granted so: ${name}`),
          ...wanted.servers
            .filter((one) => !found.servers.some((other) => text(other) === text(one)))
            .map(({ name }) => `missing: ${name}`),
          ...(text(found.agents) === text(wanted.agents) ? [] : [`tokens of ${found.agents.join(", ") || "nobody"}`]),
          ...(text(found.listen) === text(wanted.listen)
            ? []
            : [`it listens at ${found.listen.host}:${found.listen.port}`]),
        ],
        "as granted",
      );
    },
  };
}

/** Objects by their keys' order, so that equal values have equal texts. */
function sorted(_: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function parse(text: string): GuardConfig | undefined {
  try {
    return GuardConfig.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

const ASK_STATUS = `import socket
s = socket.socket(socket.AF_UNIX)
s.settimeout(10)
s.connect("${ADMIN_SOCKET}")
s.sendall(b'{"do":"status"}\\n')
print(s.makefile().readline())`;

function trusted(): Probe<Outcome> {
  return {
    id: "root/tool-drift",
    vantage: "root",
    title: "no MCP server is out of use because its tools are not the reviewed ones",
    expected: "none",
    read: (host) => host.root({ do: "run", argv: ["python3", "-I", "-c", ASK_STATUS], seconds: 20 }),
    judge: (outcome) => {
      const { stdout = "" } = (outcome.value ?? {}) as { stdout?: string };
      if (!outcome.ok || stdout === "") return unprovable(words(outcome), "the guard did not answer root");
      const { servers } = JSON.parse(stdout) as { servers: { name: string; quarantined: string | null }[] };
      return unless(
        servers.flatMap(({ name, quarantined }) => (quarantined === null ? [] : [`${name}: ${quarantined}`])),
        `${servers.length} servers, none`,
      );
    },
  };
}

function socketOwners(servers: readonly Principal[], guard: Principal): Probe<Outcome> {
  const wanted = new Map([
    [ADMIN_SOCKET, 0],
    ...servers.map(({ name }) => [serverSocket(name), guard.uid] as [string, number]),
  ]);
  return {
    id: "root/tool-sockets",
    vantage: "root",
    title: "each MCP server's socket is the guard's alone, and the guard's own is root's",
    expected: `${wanted.size} sockets, mode 600`,
    read: (host) => host.root({ do: "owners", paths: [...wanted.keys()] }),
    judge: (outcome) => {
      if (!outcome.ok) return unprovable(words(outcome), "root could not look");
      const found = outcome.value as Record<string, { uid: number; mode: number } | null>;
      return unless(
        [...wanted].flatMap(([path, uid]) => {
          const owner = found[path] ?? null;
          if (owner === null) return [`${path} is missing`];
          return owner.uid === uid && (owner.mode & 0o777) === 0o600
            ? []
            : [`${path} is ${owner.uid}'s, mode ${(owner.mode & 0o777).toString(8)}`];
        }),
        `${wanted.size} as expected`,
      );
    },
  };
}

function refused(
  principal: Principal,
  what: string,
  texts: { title: string; expected: string },
  tried: readonly { name: string; attempt: Attempt }[],
): Probe<Outcome[]> {
  return {
    id: `${principal.id}/${what}`,
    vantage: `principal:${principal.id}`,
    ...texts,
    read: (host) => Promise.all(tried.map(({ attempt }) => host.as(principal.id, attempt))),
    judge: (facts) => together(facts.map((outcome, i) => mustFail(tried[i]?.name ?? "", outcome))),
  };
}

function sockets(principal: Principal, servers: readonly Principal[]): Probe<Outcome[]> {
  const others = principal.kind === "guard" ? [] : servers.map(({ name }) => serverSocket(name));
  return refused(
    principal,
    "tool-sockets",
    {
      title: "reaches no MCP server but through the guard, and approves no call",
      expected: "no socket of a server or of the guard answers",
    },
    [...others, ADMIN_SOCKET].map((path) => ({ name: path, attempt: { do: "unix", path } })),
  );
}

function offline(principal: Principal): Probe<Outcome[]> {
  const tcp = (host: string, port: number) => ({
    name: `tcp ${host}:${port}`,
    attempt: { do: "connect", host, port } as const,
  });
  return refused(
    principal,
    "network",
    { title: "has no network at all", expected: "TCP and UDP fail, IPv4 and IPv6, loopback and metadata too" },
    [
      tcp("198.51.100.7", 443),
      tcp("2001:db8::7", 443),
      tcp("127.0.0.1", GUARD_PORT),
      tcp("::1", 22),
      tcp(METADATA_IPV4, 80),
      { name: "udp 198.51.100.7:53", attempt: { do: "udp", host: "198.51.100.7", port: 53 } },
    ],
  );
}
