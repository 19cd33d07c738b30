import type { Principal } from "../../policy/egress/principals.ts";
import type { ProviderKind } from "../../policy/models/schema.ts";
import { gatewayTokenCredential, virtualKeyCredential } from "../../policy/secrets/credentials.ts";
import { calledServers } from "../../policy/tools/callers.ts";
import type { HostSpec } from "../../spec/host-spec.ts";
import { GATEWAY_PORT, GUARD_PORT } from "../../spec/names.ts";

/** Home of an agent on the host and in its sandbox. */
export function agentHome(agent: string): string {
  return `/var/lib/bailiwick/agents/${agent}/home`;
}

/** Where OpenClaw's file tools work: the first workspace it may write, else a folder of its own. */
export function openclawWorkspace(spec: HostSpec, agent: string): string {
  const granted = spec.grants.mount.find((grant) => grant.agent === agent && grant.mode === "rw");
  return granted === undefined ? `${agentHome(agent)}/workspace` : `/workspaces/${granted.workspace}`;
}

/** Directory of an agent's unit that holds the credentials OpenClaw reads: files it owns, gone when it stops. */
export function runtimeDirectory(unit: string): string {
  return `/run/${unit}`;
}

/**
 * OpenClaw's configuration. It can name only models that are granted, and everything that would reach beyond the
 * sandbox is off: the sandbox, the firewall and the gateway refuse it all the same.
 */
export function openclawConfig(spec: HostSpec, { name, unit, port }: Principal): object {
  const grants = spec.grants.invoke.filter((grant) => grant.agent === name);
  const references = grants.flatMap(({ model, models }) => models.map((id) => `${model}/${id}`));
  const runtime = spec.agents[name]?.runtime;
  const chosen = runtime?.kind === "openclaw" ? runtime.model : null;
  const primary = chosen === null ? references[0] : `${chosen.provider}/${chosen.id}`;
  const secretFile = (credential: string) => ({
    source: "file",
    path: `${runtimeDirectory(unit)}/${credential}`,
    mode: "singleValue",
  });
  return {
    gateway: {
      mode: "local",
      port,
      bind: "loopback",
      auth: { mode: "token", token: { source: "file", provider: "gateway-token", id: "value" } },
      http: { endpoints: { chatCompletions: { enabled: true } } },
      controlUi: { enabled: false },
      terminal: { enabled: false },
      nodes: { pairing: { sshVerify: false } },
    },
    update: { checkOnStart: false, auto: { enabled: false } },
    telemetry: { enabled: false },
    discovery: { mdns: { mode: "off" } },
    models: {
      mode: "replace",
      catalogRefresh: { enabled: false },
      providers: Object.fromEntries(
        grants.map(({ model, models }) => [
          model,
          {
            ...endpoint(model, spec.models[model]?.provider ?? "openai-compatible"),
            apiKey: { source: "file", provider: "virtual-key", id: "value" },
            models: models.map(modelEntry),
          },
        ]),
      ),
    },
    secrets: {
      providers: {
        "gateway-token": secretFile(gatewayTokenCredential(name)),
        ...(grants.length > 0 ? { "virtual-key": secretFile(virtualKeyCredential(name)) } : {}),
      },
    },
    ...mcpServers(spec, name),
    plugins: { allow: ["memory-core"], slots: { memory: "none" } },
    agents: {
      defaults: {
        heartbeat: { every: "0m" },
        skipBootstrap: true,
        workspace: openclawWorkspace(spec, name),
        ...(primary === undefined ? {} : { model: { primary } }),
        modelPolicy: { allow: references.length > 0 ? references : ["none/none"] },
        sandbox: { mode: "off" },
      },
    },
    session: { dmScope: "per-channel-peer" },
    tools: {
      profile: "coding",
      toolSearch: false,
      fs: { workspaceOnly: true },
      deny: [
        "group:runtime",
        "group:automation",
        "group:ui",
        "group:nodes",
        "group:media",
        "sessions_spawn",
        "sessions_send",
      ],
      exec: { security: "deny", ask: "always" },
      elevated: { enabled: false },
      sessions: { visibility: "agent" },
      agentToAgent: { enabled: false },
    },
    logging: {
      level: "info",
      file: `/var/lib/bailiwick/agents/${name}/state/logs/gateway.log`,
      consoleStyle: "json",
    },
  };
}

/** Environment variable of an OpenClaw unit with its token for the MCP guard: headers take no reference to a file. */
export const MCP_TOKEN_VARIABLE = "BAILIWICK_MCP_TOKEN";

function mcpServers(spec: HostSpec, agent: string): object {
  const servers = calledServers(spec, agent);
  if (servers.length === 0) return {};
  const entry = (path: string) => ({
    url: `http://127.0.0.1:${GUARD_PORT}/${path}`,
    transport: "streamable-http",
    headers: { Authorization: `Bearer \${${MCP_TOKEN_VARIABLE}}` },
  });
  return { mcp: { servers: Object.fromEntries(servers.map(({ name, path }) => [name, entry(path)])) } };
}

/** OpenClaw appends `/chat/completions`, `/v1/messages` or `/models/<id>:streamGenerateContent` to the base. */
function endpoint(provider: string, kind: ProviderKind): { baseUrl: string; api: string } {
  const base = `http://127.0.0.1:${GATEWAY_PORT}/${provider}`;
  if (kind === "anthropic") return { baseUrl: base, api: "anthropic-messages" };
  if (kind === "google") return { baseUrl: `${base}/v1beta`, api: "google-generative-ai" };
  return { baseUrl: `${base}/v1`, api: "openai-completions" };
}

/** What the spec does not know of a model, OpenClaw is told low; costs are the gateway's to count. */
function modelEntry(id: string): object {
  return {
    id,
    name: id,
    reasoning: false,
    input: ["text"],
    contextWindow: 128_000,
    maxTokens: 8192,
    cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 },
  };
}
