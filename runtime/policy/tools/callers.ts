import type { HostSpec } from "../../spec/host-spec.ts";
import { SHELL_SERVER } from "../shell/schema.ts";
import { shellServer } from "../shell/shell.ts";

/** Whether an agent has anything to ask the guard: tools that it may call, or a shell. */
export function usesGuard(spec: HostSpec, agent: string): boolean {
  return calledServers(spec, agent).length > 0;
}

/** What an agent may ask the guard for, sorted: the name that the agent knows it by, and its path at the guard. */
export function calledServers(spec: HostSpec, agent: string): { name: string; path: string }[] {
  const servers = (spec.grants.call ?? []).filter((grant) => grant.agent === agent);
  const shells = (spec.grants.shell ?? []).filter((grant) => grant.agent === agent);
  return [
    ...servers.map(({ server }) => ({ name: server, path: server })),
    ...shells.map(() => ({ name: SHELL_SERVER, path: shellServer(agent) })),
  ].sort((a, b) => (a.name < b.name ? -1 : 1));
}
