import type { HostSpec } from "../../spec/host-spec.ts";
import type { PrincipalId } from "../../spec/names.ts";

/** One workspace as an agent's sandbox shows it. */
export interface WorkspaceMount {
  readonly workspace: string;
  /** On the host, on the data volume. */
  readonly source: string;
  /** In the sandbox. */
  readonly target: string;
  readonly mode: "ro" | "rw";
}

/** Path of a workspace on the host. */
export function workspacePath(workspace: string): string {
  return `/var/lib/bailiwick/workspaces/${workspace}`;
}

/** Workspaces granted to a principal, by name: only agents, their shells and MCP servers are granted any. */
export function workspaceMounts(spec: HostSpec, principal: PrincipalId): WorkspaceMount[] {
  const agents = spec.grants.mount.map(({ agent, ...grant }) => ({ principal: `agent/${agent}`, ...grant }));
  const servers = (spec.grants.serverMount ?? []).map(({ server, ...grant }) => ({
    principal: `mcp/${server}`,
    ...grant,
  }));
  const shells = (spec.grants.shell ?? []).flatMap(({ agent, workspaces }) =>
    agents
      .filter((grant) => grant.principal === `agent/${agent}` && workspaces.includes(grant.workspace))
      .map((grant) => ({ ...grant, principal: `shell/${agent}` })),
  );
  return [...agents, ...shells, ...servers]
    .filter((grant) => grant.principal === principal)
    .map(({ workspace, mode }) => ({
      workspace,
      source: workspacePath(workspace),
      target: `/workspaces/${workspace}`,
      mode,
    }))
    .sort((a, b) => (a.workspace < b.workspace ? -1 : 1));
}
