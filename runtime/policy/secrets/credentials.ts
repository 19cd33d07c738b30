import type { HostSpec } from "../../spec/host-spec.ts";
import type { Principal } from "../egress/principals.ts";
import { usesGuard } from "../tools/callers.ts";

/** Sealed credential of one of the operator's secrets. */
export function secretCredential(secret: string): string {
  return `secret.${secret}`;
}

/** Sealed credential with which an agent calls the model gateway; made on the host, known to the gateway by its hash. */
export function virtualKeyCredential(agent: string): string {
  return `agent.${agent}.virtual-key`;
}

/** Sealed credential with which root asks an OpenClaw agent; made on the host. */
export function gatewayTokenCredential(agent: string): string {
  return `agent.${agent}.gateway-token`;
}

/** Sealed credential with which an agent calls the MCP guard; made on the host, known to the guard by its hash. */
export function mcpTokenCredential(agent: string): string {
  return `agent.${agent}.mcp-token`;
}

/**
 * Credentials of an agent's unit, sorted: a virtual key if it may call any model, a token for the guard if it may call any
 * tool or has a shell, a gateway token for OpenClaw.
 */
export function agentCredentials(spec: HostSpec, agent: string): string[] {
  const openclaw = spec.agents[agent]?.runtime.kind === "openclaw";
  const invokes = spec.grants.invoke.some((grant) => grant.agent === agent);
  return [
    ...(usesGuard(spec, agent) ? [mcpTokenCredential(agent)] : []),
    ...(openclaw ? [gatewayTokenCredential(agent)] : []),
    ...(invokes ? [virtualKeyCredential(agent)] : []),
  ].sort();
}

/** Secrets of the guard's own, sorted: the tokens of remote MCP servers. */
function guardSecrets(spec: HostSpec): string[] {
  const tokens = Object.values(spec.mcpServers ?? {}).flatMap(({ source }) =>
    source.kind === "remote" && source.token !== null ? [source.token] : [],
  );
  return [...new Set(tokens)].sort();
}

/** Secrets that an MCP server is given as environment variables, sorted. */
function serverSecrets(spec: HostSpec, server: string): string[] {
  const source = spec.mcpServers?.[server]?.source;
  return source?.kind === "npm" ? [...new Set(Object.values(source.secrets))].sort() : [];
}

/** Secrets that were granted to a principal to read, sorted. */
export function grantedSecrets(spec: HostSpec, id: string): string[] {
  const granted = (spec.grants.read ?? []).flatMap(({ secret, principal }) => (principal === id ? [secret] : []));
  return [...new Set(granted)].sort();
}

/** Secrets of the operator's that a principal's unit is given, sorted. */
export function principalSecrets(
  spec: HostSpec,
  { id, kind, name }: Pick<Principal, "id" | "kind" | "name">,
): string[] {
  const own =
    kind === "gateway"
      ? gatewaySecrets(spec)
      : kind === "guard"
        ? guardSecrets(spec)
        : kind === "mcp"
          ? serverSecrets(spec, name)
          : [];
  return [...new Set([...own, ...grantedSecrets(spec, id)])].sort();
}

/** Names of the sealed credentials that a principal's unit loads, sorted: these and no others. */
export function unitCredentials(spec: HostSpec, principal: Pick<Principal, "id" | "kind" | "name">): string[] {
  const own = principal.kind === "agent" ? agentCredentials(spec, principal.name) : [];
  return [...own, ...principalSecrets(spec, principal).map(secretCredential)].sort();
}

/** Secrets that the gateway's unit is given, sorted: the keys of providers that some agent may call, and no others. */
function gatewaySecrets(spec: HostSpec): string[] {
  const granted = Object.entries(spec.models).filter(([name]) => spec.grants.invoke.some((g) => g.model === name));
  return [...new Set(granted.flatMap(([, { apiKey }]) => (apiKey === null ? [] : [apiKey])))].sort();
}
