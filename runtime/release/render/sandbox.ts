import { loadTemplate, render } from "../../../cloud-init/render.ts";
import { FORWARD_PORTS } from "../../policy/egress/forwards.ts";
import { isOffline, type Principal, usesEgress } from "../../policy/egress/principals.ts";
import { allLimits, type Limits } from "../../policy/limits/schema.ts";
import { shellOf, shellSlice } from "../../policy/shell/shell.ts";
import { workspaceMounts } from "../../policy/workspaces/mounts.ts";
import type { HostSpec } from "../../spec/host-spec.ts";
import { GATEWAY_ADMIN_PORT, PRINCIPAL_UIDS, type PrincipalId } from "../../spec/names.ts";
import type { ModelService } from "../../spec/runtime.ts";
import { configFolder, configTarget, resolvConf } from "./configs.ts";
import { agentHome } from "./openclaw-config.ts";
import { type Provided, runtimeComponent, serverComponent, serviceComponent } from "./requirements.ts";

const load = (name: string) => loadTemplate(new URL(`./templates/${name}.hbs`, import.meta.url));
const partials = { common: load("sandbox-common") };
const agentTemplate = load("sandbox-agent.conf");
const programTemplate = load("sandbox-program.conf");
const serviceTemplate = load("sandbox-service.conf");
const mcpTemplate = load("sandbox-mcp.conf");
const shellTemplate = loadTemplate(new URL("../../policy/shell/templates/sandbox.conf.hbs", import.meta.url));
const egressTemplate = load("sandbox-egress.conf");
const resolverTemplate = load("sandbox-resolver.conf");

const CURRENT = "/opt/bailiwick/current";

/** The drop-in that is a principal's whole sandbox; its unit and its probe unit both have it, byte for byte. */
export function renderSandbox(spec: HostSpec, principal: Principal, provided: Provided): string {
  const common = {
    id: principal.id,
    user: principal.user,
    hosts: `${CURRENT}/${configFolder(principal)}/hosts`,
    resolvConf: `${CURRENT}/${resolvConf(principal).path}`,
    config: `${CURRENT}/${configFolder(principal)}`,
    bind: boundPorts(principal),
    loopbackOnly: !usesEgress(principal),
    // an abstract socket has no file that could be hidden: who needs none gets none, and agents have a scope of their own
    unixSockets: ["agent", "shell", "egress", "guard"].includes(principal.kind),
  };
  if (principal.kind === "agent") return agentSandbox(spec, principal, provided, common);
  if (principal.kind === "mcp") return mcpSandbox(spec, principal, provided, common);
  if (principal.kind === "shell") return shellSandbox(spec, principal, provided, common);
  const service = principal.kind === "model" ? spec.models[principal.name]?.service : undefined;
  if (service !== undefined) return serviceSandbox(principal, service, provided, common);
  if (principal.kind === "resolver") return render(resolverTemplate, common, partials);
  if (principal.kind !== "egress") return programSandbox(spec, principal, provided, common);
  // all that any principal could be given, so that a new grant changes its configuration alone
  const bind = [PRINCIPAL_UIDS, FORWARD_PORTS].map(({ first, last }) => `${first}-${last}`);
  return render(egressTemplate, { ...common, bind, loopbackOnly: false }, partials);
}

function boundPorts({ kind, port }: Principal): string[] {
  if (port === null) return [];
  return kind === "gateway" ? [String(port), String(GATEWAY_ADMIN_PORT)] : [String(port)];
}

function agentSandbox(spec: HostSpec, { name }: Principal, provided: Provided, common: object): string {
  const runtime = spec.agents[name]?.runtime;
  if (runtime === undefined) throw new Error(`agents.${name}: received nothing; the spec must have it`);
  const onNode = runtime.kind === "openclaw" || runtime.argv[0] === "node";
  const node = onNode ? [provided.component("node")] : [];
  return render(
    agentTemplate,
    {
      ...common,
      // fails openat2(), which OpenClaw needs; no new privileges and a nosuid volume do its work there
      restrictSuid: runtime.kind !== "openclaw",
      components: [...node, provided.component(runtimeComponent(name, runtime))],
      home: `/var/lib/bailiwick/agents/${name}`,
      workspaces: workspacesOf(spec, `agent/${name}`),
      limits: renderedLimits(allLimits(spec.agents[name]?.limits)),
      homeVariable: `HOME=${agentHome(name)}`,
      pathVariable: `PATH=${[...node.map((folder) => `${folder}/bin`), "/usr/bin", "/bin"].join(":")}`,
    },
    partials,
  );
}

/** A model server has neither a home nor a workspace nor a way to anywhere. */
function serviceSandbox({ name }: Principal, service: ModelService, provided: Provided, common: object): string {
  const node = service.argv[0] === "node" ? [provided.component("node")] : [];
  return render(
    serviceTemplate,
    {
      ...common,
      components: [...node, provided.component(serviceComponent(name))],
      memoryMax: `${service.memoryMiB}M`,
      pathVariable: `PATH=${[...node.map((folder) => `${folder}/bin`), "/usr/bin", "/bin"].join(":")}`,
    },
    partials,
  );
}

/** A shell has what its agent has of the host's programs, and of the agent's nothing but workspaces. */
function shellSandbox(spec: HostSpec, principal: Principal, provided: Provided, common: object): string {
  const node = provided.component("node");
  return render(
    shellTemplate,
    {
      ...common,
      offline: isOffline(principal),
      components: [node],
      configTarget: configTarget(principal),
      workspaces: workspacesOf(spec, principal.id),
      slice: shellSlice(principal.name),
      limits: renderedLimits(allLimits(shellOf(spec, principal.name)?.limits)),
      pathVariable: `PATH=${node}/bin:/usr/bin:/bin`,
    },
    partials,
  );
}

/** Limits as systemd's settings have them. */
export function renderedLimits(limits: Limits) {
  const { memoryMiB, cpus } = limits;
  return { ...limits, memoryHighMiB: Math.floor(memoryMiB * 0.75), cpuPercent: Math.round(cpus * 100) };
}

function workspacesOf(spec: HostSpec, principal: PrincipalId) {
  return workspaceMounts(spec, principal).map((mount) => ({ ...mount, writable: mount.mode === "rw" }));
}

/** Programs of this kit that run as principals of their own, by kind. */
export const PROGRAMS: Readonly<Partial<Record<Principal["kind"], string>>> = {
  gateway: "model-gateway",
  model: "demo-model",
  guard: "mcp-guard",
};

/** Without a granted name, an MCP server has no network at all. */
function mcpSandbox(spec: HostSpec, principal: Principal, provided: Provided, common: object): string {
  return render(
    mcpTemplate,
    {
      ...common,
      components: [provided.component("node"), provided.component(serverComponent(principal.name))],
      node: provided.component("node"),
      offline: isOffline(principal),
      workspaces: workspacesOf(spec, principal.id),
    },
    partials,
  );
}

function programSandbox(spec: HostSpec, { kind }: Principal, provided: Provided, common: object): string {
  const component = PROGRAMS[kind];
  if (component === undefined) throw new Error(`a ${kind} is no program of this kit`);
  const servers = Object.values(spec.mcpServers ?? {});
  const local = servers.some(({ source }) => source.kind === "npm") || (spec.grants.shell ?? []).length > 0;
  const state = kind === "gateway" ? "/var/lib/bailiwick/gateway" : null;
  return render(
    programTemplate,
    {
      ...common,
      components: [provided.component("node"), provided.component(component)],
      node: provided.component("node"),
      configTarget: `/etc/bailiwick/${kind}`,
      sockets: kind === "guard" && local ? "/run/bailiwick-mcp" : null,
      state,
      homeVariable: `HOME=${state ?? "/nonexistent"}`,
    },
    partials,
  );
}
