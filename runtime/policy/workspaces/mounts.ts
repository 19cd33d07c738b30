import type { HostSpec } from "../../spec/host-spec.ts";

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

/** Workspaces granted to an agent, by name. */
export function workspaceMounts(spec: HostSpec, agent: string): WorkspaceMount[] {
  return spec.grants.mount
    .filter((grant) => grant.agent === agent)
    .map(({ workspace, mode }) => ({
      workspace,
      source: workspacePath(workspace),
      target: `/workspaces/${workspace}`,
      mode,
    }))
    .sort((a, b) => (a.workspace < b.workspace ? -1 : 1));
}
