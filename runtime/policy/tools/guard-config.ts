import type { HostSpec } from "../../spec/host-spec.ts";
import { GUARD_PORT } from "../../spec/names.ts";
import { byName } from "../egress/principals.ts";
import { secretCredential } from "../secrets/credentials.ts";
import { shellEntry } from "../shell/shell.ts";
import { usesGuard } from "./callers.ts";
import type { GuardConfig, McpServerSpec } from "./schema.ts";

const GUARD_LIMITS: GuardConfig["limits"] = {
  bodyBytes: 1024 * 1024,
  resultBytes: 4 * 1024 * 1024,
  callMs: 60_000,
  startMs: 30_000,
  requestsPerMinute: 240,
  concurrentCalls: 8,
  sessions: 8,
  idleMs: 30 * 60_000,
  pendingApprovals: 16,
  pendingMs: 15 * 60_000,
  approvalMs: 5 * 60_000,
};

/** Socket of a server's unit: the guard's alone. */
export function serverSocket(server: string): string {
  return `/run/bailiwick-mcp/${server}.sock`;
}

/** Socket over which root asks the guard. */
export const ADMIN_SOCKET = "/run/bailiwick-guard/admin.sock";

/**
 * Configuration of the MCP guard. Servers of which nothing is granted are in it too: their tools are read, to be pinned.
 * @param tokenHashes hex sha256 of an agent's token, and while it is rotated of the one before too
 */
export function guardConfig(spec: HostSpec, tokenHashes: (agent: string) => string[]): GuardConfig {
  const grants = spec.grants.call ?? [];
  const shells = [...(spec.grants.shell ?? [])].sort((a, b) => (a.agent < b.agent ? -1 : 1));
  const callers = byName(spec.agents).flatMap(([agent]) => (usesGuard(spec, agent) ? [agent] : []));
  return {
    listen: { host: "127.0.0.1", port: GUARD_PORT },
    agents: callers.map((agent) => ({ agent, sha256: tokenHashes(agent) })),
    servers: [
      ...byName(spec.mcpServers ?? {}).map(([name, { source, tools }]) => ({
        name,
        backend: backend(name, source),
        tools,
        grants: grants
          .filter(({ server }) => server === name)
          .map(({ agent, tools: granted }) => ({ agent, tools: granted }))
          .sort((a, b) => (a.agent < b.agent ? -1 : 1)),
      })),
      ...shells.map((grant) => shellEntry(spec, grant)),
    ],
    limits: { ...GUARD_LIMITS },
  };
}

function backend(name: string, source: McpServerSpec["source"]): GuardConfig["servers"][number]["backend"] {
  if (source.kind === "npm") return { kind: "unix", path: serverSocket(name) };
  return { kind: "remote", url: source.url, credential: source.token === null ? null : secretCredential(source.token) };
}
