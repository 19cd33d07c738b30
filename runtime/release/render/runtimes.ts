import type { Principal } from "../../policy/egress/principals.ts";
import { calledServers } from "../../policy/tools/callers.ts";
import type { HostSpec } from "../../spec/host-spec.ts";
import { GATEWAY_PORT, GUARD_PORT } from "../../spec/names.ts";
import type { CommandRuntime, ModelService } from "../../spec/runtime.ts";

/** Environment of OpenClaw's unit: where its configuration and state are, that it changes and fetches nothing, and Node.js' options. */
export function openclawEnvironment(agent: string, options: string): string[] {
  return [
    "OPENCLAW_CONFIG_PATH=/etc/bailiwick/agent/openclaw.json",
    "OPENCLAW_CONFIG_READONLY=1",
    `OPENCLAW_STATE_DIR=/var/lib/bailiwick/agents/${agent}/state`,
    "OPENCLAW_NO_AUTO_UPDATE=1",
    "OPENCLAW_OFFLINE=1",
    "OPENCLAW_DISABLE_BONJOUR=1",
    "OPENCLAW_NO_RESPAWN=1",
    "DO_NOT_TRACK=1",
    `NODE_OPTIONS=${options}`,
  ];
}

/**
 * Program, arguments and environment of a `Runtime.command` agent. The first of argv is `node` for the bundled Node.js,
 * an absolute path on the host, or `./…` within the component, which is also the working directory. What the kit sets
 * stands last and so wins over the spec's own variables.
 * @throws if the first of argv is none of these
 */
export function commandUnit(
  spec: HostSpec,
  { name, port }: Principal,
  runtime: CommandRuntime,
  directory: string,
  node: string,
): { program: string; arguments: string[]; environment: string[] } {
  const [first = "", ...rest] = runtime.argv;
  const providers = spec.grants.invoke.filter(({ agent }) => agent === name).map(({ model }) => model);
  return {
    program: programPath(`agents.${name}.runtime`, first, directory, node),
    arguments: rest,
    environment: [
      ...Object.entries(runtime.env)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, value]) => `${key}=${value}`),
      `BAILIWICK_PORT=${port}`,
      ...providers
        .sort()
        .map((provider) => `BAILIWICK_MODEL_URL_${envName(provider)}=http://127.0.0.1:${GATEWAY_PORT}/${provider}`),
      ...calledServers(spec, name).map(
        (server) => `BAILIWICK_MCP_URL_${envName(server.name)}=http://127.0.0.1:${GUARD_PORT}/${server.path}`,
      ),
    ],
  };
}

/** Program, arguments and environment of a model server of the operator's own, as `commandUnit` gives an agent's. */
export function serviceUnit(
  { name, port }: Principal,
  service: ModelService,
  directory: string,
  node: string,
): { program: string; arguments: string[]; environment: string[] } {
  const withPort = (text: string) => text.replaceAll("{port}", String(port));
  const [first = "", ...rest] = service.argv;
  return {
    program: programPath(`models.${name}.service`, first, directory, node),
    arguments: rest.map(withPort),
    environment: [
      ...Object.entries(service.env)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, value]) => `${key}=${withPort(value)}`),
      `BAILIWICK_PORT=${port}`,
    ],
  };
}

function envName(provider: string): string {
  return provider.toUpperCase().replaceAll("-", "_");
}

function programPath(at: string, first: string, directory: string, node: string): string {
  if (first === "node") return node;
  if (first.startsWith("/")) return first;
  if (first.startsWith("./")) return `${directory}/${first.slice(2)}`;
  throw new Error(
    `${at}.argv[0]: received ${JSON.stringify(first)}; write "node", an absolute path on the host, or "./…" for a file of the source folder`,
  );
}
