import { broken, held, mustFail, together, unprovable, words } from "../judgement.ts";
import type { Outcome, Probe, Subject } from "../probe.ts";
import { type WorkspaceMount, workspaceMounts } from "../workspaces/mounts.ts";

/**
 * What sets a shell apart from its agent: it sees the same workspaces as they are, and nothing else of the agent. What it
 * shares with other principals (sandbox, network, limits, sockets) is tried with theirs.
 */
export function shellProbes({ spec }: Subject): Probe[] {
  return (spec.grants.shell ?? []).flatMap(({ agent }) => [
    agentHidden(agent),
    ...workspaceMounts(spec, `shell/${agent}`).map((mount) => live(agent, mount)),
  ]);
}

function agentHidden(agent: string): Probe<{ path: string; outcome: Outcome; there: boolean }[]> {
  const own = `/var/lib/bailiwick/agents/${agent}`;
  const unit = `bailiwick-agent-${agent}`;
  const paths = [
    own,
    `${own}/state`,
    `${own}/home`,
    `/opt/bailiwick/current/etc/agents/${agent}`,
    `/etc/bailiwick/agent`,
    `/run/${unit}`,
    `/run/credentials/${unit}.service`,
    ...["virtual-key", "gateway-token", "mcp-token"].map((name) => `/etc/bailiwick/credentials/agent.${agent}.${name}`),
  ];
  return {
    id: `shell/${agent}/agent`,
    vantage: `principal:shell/${agent}`,
    title: "sees neither state nor configuration nor credentials of its agent",
    expected: "none of their places in sight",
    read: (host) =>
      Promise.all(
        paths.map(async (path) => {
          const [outcome, byRoot] = await Promise.all([
            host.as(`shell/${agent}`, { do: "read", path }),
            host.root({ do: "exists", path }),
          ]);
          return { path, outcome, there: byRoot.ok };
        }),
      ),
    judge: (facts) =>
      facts.some(({ there }) => there)
        ? together(facts.map(({ path, outcome }) => mustFail(path, outcome)))
        : unprovable("none is there", "none of these places is on this host"),
  };
}

/** Device and number of a directory, and what it shows them by: equal for two who see the same one. */
const IDENTITY = ["/usr/bin/stat", "-L", "-c", "%d:%i"];

function live(agent: string, { workspace, target }: WorkspaceMount): Probe<{ shell: Outcome; agent: Outcome }> {
  const look = { do: "run", argv: [...IDENTITY, target], seconds: 10 } as const;
  return {
    id: `shell/${agent}/live/${workspace}`,
    vantage: `principal:shell/${agent}`,
    title: `sees workspace "${workspace}" itself, as its agent does, and no copy of it`,
    expected: "the same directory of the same volume",
    read: async (host) => {
      const [shell, byAgent] = await Promise.all([host.as(`shell/${agent}`, look), host.as(`agent/${agent}`, look)]);
      return { shell, agent: byAgent };
    },
    judge: (facts) => {
      const [shell, ofAgent] = [identity(facts.shell), identity(facts.agent)];
      if (shell === undefined) return broken(`the shell does not see it: ${words(facts.shell)}`);
      if (ofAgent === undefined) return unprovable(words(facts.agent), "the agent does not see it");
      return shell === ofAgent ? held(shell) : broken(`the shell sees ${shell}, the agent ${ofAgent}`);
    },
  };
}

function identity(outcome: Outcome): string | undefined {
  return /^\d+:\d+$/.exec((outcome.value as { stdout?: string } | null)?.stdout?.trim() ?? "")?.[0];
}
