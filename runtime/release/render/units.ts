import { loadTemplate, render } from "../../../cloud-init/render.ts";
import { PLACEHOLDER_IPV4 } from "../../policy/egress/addresses.ts";
import { STAND_IN_NETWORK } from "../../policy/egress/forwards.ts";
import { isOffline, isSocketActivated, type Principal, usesEgress } from "../../policy/egress/principals.ts";
import { allLimits } from "../../policy/limits/schema.ts";
import { mcpTokenCredential, unitCredentials } from "../../policy/secrets/credentials.ts";
import { shellOf, shellSlice, shellSocket } from "../../policy/shell/shell.ts";
import { usesGuard } from "../../policy/tools/callers.ts";
import { ADMIN_SOCKET, serverSocket } from "../../policy/tools/guard-config.ts";
import { workspaceMounts } from "../../policy/workspaces/mounts.ts";
import { digestOf } from "../../spec/digest.ts";
import type { HostSpec } from "../../spec/host-spec.ts";
import type { ReleaseFile } from "../../spec/manifest.ts";
import { principalUser } from "../../spec/names.ts";
import type { CommandRuntime, OpenClawRuntime } from "../../spec/runtime.ts";
import { configDigest, configFiles, configFolder, configTarget, isConfined, openclawOptions } from "./configs.ts";
import type { Credential } from "./input.ts";
import { MCP_TOKEN_VARIABLE, runtimeDirectory } from "./openclaw-config.ts";
import { type Provided, runtimeComponent, serverComponent, serviceComponent } from "./requirements.ts";
import { commandUnit, openclawEnvironment, serviceUnit } from "./runtimes.ts";
import { PROGRAMS, renderedLimits, renderSandbox } from "./sandbox.ts";

const load = (name: string) => loadTemplate(new URL(`./templates/${name}.hbs`, import.meta.url));
const partials = { head: load("unit-head"), confined: load("confined") };
const openclawTemplate = load("openclaw.service");
const programTemplate = load("program.service");
const mcpTemplate = load("mcp.service");
const mcpSocketTemplate = load("mcp.socket");
const guardSocketTemplate = load("guard.socket");
const sliceTemplate = loadTemplate(new URL("../../policy/shell/templates/slice.hbs", import.meta.url));
const egressTemplate = load("egress.service");
const probeTemplate = load("probe.service");

/** Node.js' options for the gateway: a small heap, since what is large in it, the bodies, lies outside of that. */
export const GATEWAY_HEAP = ["--max-semi-space-size=4", "--max-old-space-size=192"];

/**
 * Names of the units that are started for a principal, in the order they start. An MCP server or a shell is started by its
 * socket; the guard has one for root.
 */
export function startedUnits({ kind, unit }: Principal): string[] {
  if (isSocketActivated({ kind })) return [`${unit}.socket`];
  return kind === "guard" ? [`${unit}.socket`, `${unit}.service`] : [`${unit}.service`];
}

/** A principal's unit, its probe unit, and the sandbox drop-in of both. */
export function unitFiles(
  spec: HostSpec,
  principals: readonly Principal[],
  principal: Principal,
  provided: Provided,
): ReleaseFile[] {
  const { unit } = principal;
  const sandbox = renderSandbox(spec, principal, provided);
  const credentials = unitCredentials(spec, principal).map((name) => provided.credential(name));
  const head = {
    description: description(spec, principal),
    configDigest: configDigest(configFiles(spec, principal, provided), principal),
    after: usedUnits(spec, principals, principal),
    dataVolume: usesDataVolume(spec, principal),
    chain: principal.chain,
    unit,
    confine: `${configTarget(principal)}/confine.py`,
    runtimeDirectory: runtimeDirectory(unit),
    credentials,
  };
  const probe = render(
    probeTemplate,
    { ...head, interpreters: !["agent", "shell"].includes(principal.kind), confined: isConfined(principal) },
    partials,
  );
  const service = isSocketActivated(principal) ? `${unit}@.service` : `${unit}.service`;
  const content = renderUnit(spec, principal, provided, head);
  return [
    ...socketFiles(principal, provided, digestOf([content, sandbox])),
    ...sliceFiles(spec, principal),
    { path: `units/${service}`, mode: 0o444, content },
    { path: `units/${service}.d/50-sandbox.conf`, mode: 0o444, content: sandbox },
    { path: `units/${unit}-probe@.service`, mode: 0o444, content: probe },
    { path: `units/${unit}-probe@.service.d/50-sandbox.conf`, mode: 0o444, content: sandbox },
  ];
}

function socketFiles({ kind, name, unit }: Principal, provided: Provided, digest: string): ReleaseFile[] {
  const file = (content: string): ReleaseFile[] => [{ path: `units/${unit}.socket`, mode: 0o444, content }];
  if (kind === "guard") return file(render(guardSocketTemplate, { socket: ADMIN_SOCKET }));
  const shared = { digest, owner: principalUser("guard") };
  if (kind === "shell") {
    const [description, socket] = [`Bailiwick shell of agent ${name}`, shellSocket(name)];
    return file(render(mcpSocketTemplate, { ...shared, description, component: provided.digest("node"), socket }));
  }
  if (kind !== "mcp") return [];
  const [description, socket] = [`Bailiwick MCP server ${name}`, serverSocket(name)];
  const component = provided.digest(serverComponent(name));
  return file(render(mcpSocketTemplate, { ...shared, description, component, socket }));
}

function sliceFiles(spec: HostSpec, { id, kind, name }: Principal): ReleaseFile[] {
  if (kind !== "shell") return [];
  const content = render(sliceTemplate, { id, limits: renderedLimits(allLimits(shellOf(spec, name)?.limits)) });
  return [{ path: `units/${shellSlice(name)}`, mode: 0o444, content }];
}

function renderUnit(
  spec: HostSpec,
  principal: Principal,
  provided: Provided,
  head: { credentials: readonly Credential[] },
): string {
  const { kind, name, port } = principal;
  if (kind === "egress")
    return render(
      egressTemplate,
      {
        ...head,
        configFile: `/opt/bailiwick/current/${configFolder(principal)}/haproxy.cfg`,
        placeholders: provided.ipv6Only ? [`${PLACEHOLDER_IPV4}/32`, STAND_IN_NETWORK] : [],
        reloadFile: `/opt/bailiwick/current/${configFolder(principal)}/reload.py`,
      },
      partials,
    );
  if (kind === "agent") {
    const runtime = spec.agents[name]?.runtime;
    if (runtime === undefined) throw new Error(`agents.${name}: received nothing; the spec must have it`);
    return runtime.kind === "openclaw"
      ? renderOpenclaw(spec, principal, runtime, provided, head)
      : renderCommand(spec, principal, runtime, provided, head);
  }
  if (kind === "mcp") return renderServer(spec, principal, provided, head);
  if (kind === "shell") return renderShell(principal, head);
  if (kind === "resolver") return renderResolverUnit(principal, head);
  const service = kind === "model" ? spec.models[name]?.service : undefined;
  if (service !== undefined) {
    const directory = provided.component(serviceComponent(name));
    const unit = serviceUnit(principal, service, directory, provided.nodeProgram());
    return render(programTemplate, { ...head, directory, ...NO_EXTRAS, ...unit }, partials);
  }
  const component = PROGRAMS[kind] ?? "";
  const directory = provided.component(component);
  const script = `${directory}/${component}.mjs`;
  const config = `/etc/bailiwick/${kind}/${kind}.json`;
  const reload = kind === "gateway" ? gatewayReload(principal.unit, script, config) : null;
  // the system's list of certificate authorities is root's to change; Node's own stands beside it
  const configured = [
    ...(kind === "gateway" ? GATEWAY_HEAP : []),
    "--use-system-ca",
    script,
    config,
    ...(reload === null ? [] : [reload.handedOver]),
  ];
  return render(
    programTemplate,
    {
      ...head,
      directory,
      program: provided.nodeProgram(),
      arguments: kind === "model" ? [script] : configured,
      environment: kind === "model" ? [`BAILIWICK_PORT=${port}`] : [],
      requires: kind === "guard" ? `${principal.unit}.socket` : null,
      reload,
      confined: false,
    },
    partials,
  );
}

/** It takes a new configuration as the gateway does. */
function renderResolverUnit({ unit }: Principal, head: object): string {
  const [own, script, folder] = ["/etc/bailiwick/resolver/names.json", RESOLVER_SCRIPT, runtimeDirectory(unit)];
  const handedOver = `${folder}/names.json`;
  return render(
    programTemplate,
    {
      ...head,
      directory: "/etc/bailiwick/resolver",
      program: "/usr/bin/python3",
      arguments: ["-I", script, "serve", own, handedOver],
      environment: [],
      ...NO_EXTRAS,
      reload: { folder, handedOver, check: ["-I", script, "take", own, handedOver] },
    },
    partials,
  );
}

const RESOLVER_SCRIPT = "/etc/bailiwick/resolver/resolver.py";

/**
 * How the gateway takes a new configuration without ending. Its mounts show the release that it was started with; a process
 * of the same sandbox that starts at the reload sees the current one, judges it, and hands it over in a folder that both see.
 */
function gatewayReload(unit: string, script: string, file: string) {
  const folder = runtimeDirectory(unit);
  const handedOver = `${folder}/gateway.json`;
  return { folder, handedOver, check: [script, "--check", file, handedOver] };
}

function renderServer(spec: HostSpec, principal: Principal, provided: Provided, head: object): string {
  const source = spec.mcpServers?.[principal.name]?.source;
  if (source?.kind !== "npm")
    throw new Error(
      `mcpServers.${principal.name}: received ${source?.kind ?? "nothing"}; only a server from npm has a unit`,
    );
  const directory = provided.component(serverComponent(principal.name));
  return render(mcpTemplate, {
    ...head,
    socketUnit: `${principal.unit}.socket`,
    // without a name it has no network, also not for this: a rule could neither be seen from there nor be needed
    networked: !isOffline(principal),
    directory,
    program: provided.nodeProgram(),
    arguments: ["--import", "/etc/bailiwick/mcp/launcher.mjs", `${directory}/${source.entry}`, ...source.args],
    environment: Object.entries(source.env)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]) => `${key}=${value}`),
  });
}

/** One process for each connection, as an MCP server is. */
function renderShell(principal: Principal, head: object): string {
  const folder = configTarget(principal);
  return render(mcpTemplate, {
    ...head,
    socketUnit: `${principal.unit}.socket`,
    networked: !isOffline(principal),
    directory: "/tmp",
    program: "/usr/bin/python3",
    arguments: ["-I", `${folder}/confine.py`, "/usr/bin/python3", "-I", `${folder}/runner.py`, `${folder}/shell.json`],
    environment: [],
  });
}

function renderOpenclaw(
  spec: HostSpec,
  principal: Principal,
  runtime: OpenClawRuntime,
  provided: Provided,
  head: object,
): string {
  const component = provided.component(runtimeComponent(principal.name, runtime));
  return render(
    openclawTemplate,
    {
      ...head,
      node: provided.nodeProgram(),
      program: `${component}/node_modules/openclaw/openclaw.mjs`,
      environment: openclawEnvironment(principal.name, openclawOptions(principal, provided)),
      tokenVariable: MCP_TOKEN_VARIABLE,
      tokenFile: usesGuard(spec, principal.name)
        ? `${runtimeDirectory(principal.unit)}/${mcpTokenCredential(principal.name)}`
        : null,
    },
    partials,
  );
}

/** What only some programs have. */
const NO_EXTRAS = { requires: null, reload: null, confined: false };

function renderCommand(
  spec: HostSpec,
  principal: Principal,
  runtime: CommandRuntime,
  provided: Provided,
  head: object,
): string {
  const directory = provided.component(runtimeComponent(principal.name, runtime));
  return render(
    programTemplate,
    {
      ...head,
      directory,
      ...NO_EXTRAS,
      confined: true,
      ...commandUnit(spec, principal, runtime, directory, provided.nodeProgram()),
    },
    partials,
  );
}

function description(spec: HostSpec, { kind, name }: Principal): string {
  if (kind === "egress") return "Bailiwick egress proxy (HAProxy)";
  if (kind === "resolver") return "Bailiwick resolver of wildcards";
  if (kind === "gateway") return "Bailiwick model gateway";
  if (kind === "guard") return "Bailiwick MCP guard";
  if (kind === "mcp") return `Bailiwick MCP server ${name}`;
  if (kind === "shell") return `Bailiwick shell of agent ${name}`;
  if (kind === "model") return `Bailiwick ${spec.models[name]?.service ? "model server" : "demo model"} ${name}`;
  const runtime = spec.agents[name]?.runtime;
  return `Bailiwick agent ${name} (${runtime?.kind === "openclaw" ? `OpenClaw ${runtime.version}` : "command"})`;
}

/** Units that a principal talks to: started before it, but their end is not its own, since the firewall fails closed. */
function usedUnits(spec: HostSpec, principals: readonly Principal[], principal: Principal): string[] {
  const { kind, name } = principal;
  const invokes = kind === "agent" && spec.grants.invoke.some(({ agent }) => agent === name);
  const calls = kind === "agent" && usesGuard(spec, name);
  return principals
    .filter(
      (other) =>
        (other.kind === "egress" && usesEgress(principal)) ||
        (other.kind === "resolver" && principal.zones.length > 0) ||
        (other.kind === "gateway" && invokes) ||
        (other.kind === "guard" && calls) ||
        (isSocketActivated(other) && kind === "guard") ||
        (other.kind === "model" && kind === "gateway"),
    )
    .map((other) => startedUnits(other).at(-1) ?? "");
}

function usesDataVolume(spec: HostSpec, { id, kind }: Principal): boolean {
  return kind === "agent" || kind === "gateway" || workspaceMounts(spec, id).length > 0;
}
