import { loadTemplate, render } from "../../../cloud-init/render.ts";
import { type Principal, usesEgress } from "../../policy/egress/principals.ts";
import { agentCredentials, gatewaySecrets, secretCredential } from "../../policy/secrets/credentials.ts";
import type { HostSpec } from "../../spec/host-spec.ts";
import type { ReleaseFile } from "../../spec/manifest.ts";
import type { CommandRuntime, OpenClawRuntime } from "../../spec/runtime.ts";
import { configDigest, configFiles, configFolder } from "./configs.ts";
import type { Credential } from "./input.ts";
import { runtimeDirectory } from "./openclaw-config.ts";
import { type Provided, runtimeComponent } from "./requirements.ts";
import { commandUnit, openclawEnvironment } from "./runtimes.ts";
import { renderSandbox } from "./sandbox.ts";

const load = (name: string) => loadTemplate(new URL(`./templates/${name}.hbs`, import.meta.url));
const partials = { head: load("unit-head") };
const openclawTemplate = load("openclaw.service");
const programTemplate = load("program.service");
const egressTemplate = load("egress.service");
const probeTemplate = load("probe.service");

/** Names of the sealed credentials that a principal's unit loads, sorted. */
export function unitCredentials(spec: HostSpec, principal: Principal): string[] {
  if (principal.kind === "agent") return agentCredentials(spec, principal.name);
  return principal.kind === "gateway" ? gatewaySecrets(spec).map(secretCredential) : [];
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
    configDigest: configDigest(configFiles(spec, principal, provided)),
    after: usedUnits(spec, principals, principal),
    dataVolume: usesDataVolume(principal),
    chain: principal.chain,
    unit,
    runtimeDirectory: runtimeDirectory(unit),
    credentials,
  };
  const probe = render(probeTemplate, { ...head, interpreters: principal.kind !== "agent" });
  return [
    { path: `units/${unit}.service`, mode: 0o444, content: renderUnit(spec, principal, provided, head) },
    { path: `units/${unit}.service.d/50-sandbox.conf`, mode: 0o444, content: sandbox },
    { path: `units/${unit}-probe@.service`, mode: 0o444, content: probe },
    { path: `units/${unit}-probe@.service.d/50-sandbox.conf`, mode: 0o444, content: sandbox },
  ];
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
      { ...head, configFile: `/opt/bailiwick/current/${configFolder(principal)}/haproxy.cfg` },
      partials,
    );
  if (kind === "agent") {
    const runtime = spec.agents[name]?.runtime;
    if (runtime === undefined) throw new Error(`agents.${name}: received nothing; the spec must have it`);
    return runtime.kind === "openclaw"
      ? renderOpenclaw(principal, runtime, provided, head)
      : renderCommand(spec, principal, runtime, provided, head);
  }
  const component = kind === "gateway" ? "model-gateway" : "demo-model";
  const directory = provided.component(component);
  const script = `${directory}/${component}.mjs`;
  // the system's list of certificate authorities is root's to change; Node's own stands beside it
  const gatewayArguments = ["--use-system-ca", script, "/etc/bailiwick/gateway/gateway.json"];
  return render(
    programTemplate,
    {
      ...head,
      directory,
      program: provided.nodeProgram(),
      arguments: kind === "gateway" ? gatewayArguments : [script],
      environment: kind === "model" ? [`BAILIWICK_PORT=${port}`] : [],
    },
    partials,
  );
}

function renderOpenclaw(principal: Principal, runtime: OpenClawRuntime, provided: Provided, head: object): string {
  const component = provided.component(runtimeComponent(principal.name, runtime));
  return render(
    openclawTemplate,
    {
      ...head,
      node: provided.nodeProgram(),
      program: `${component}/node_modules/openclaw/openclaw.mjs`,
      environment: openclawEnvironment(principal.name),
    },
    partials,
  );
}

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
    { ...head, directory, ...commandUnit(spec, principal, runtime, directory, provided.nodeProgram()) },
    partials,
  );
}

function description(spec: HostSpec, { kind, name }: Principal): string {
  if (kind === "egress") return "Bailiwick egress proxy (HAProxy)";
  if (kind === "gateway") return "Bailiwick model gateway";
  if (kind === "model") return `Bailiwick demo model ${name}`;
  const runtime = spec.agents[name]?.runtime;
  return `Bailiwick agent ${name} (${runtime?.kind === "openclaw" ? `OpenClaw ${runtime.version}` : "command"})`;
}

/** Units that a principal talks to: started before it, but their end is not its own, since the firewall fails closed. */
function usedUnits(spec: HostSpec, principals: readonly Principal[], principal: Principal): string[] {
  const { kind, name } = principal;
  const invokes = kind === "agent" && spec.grants.invoke.some(({ agent }) => agent === name);
  return principals
    .filter(
      (other) =>
        (other.kind === "egress" && usesEgress(principal)) ||
        (other.kind === "gateway" && invokes) ||
        (other.kind === "model" && kind === "gateway"),
    )
    .map(({ unit }) => `${unit}.service`);
}

function usesDataVolume({ kind }: Principal): boolean {
  return kind === "agent" || kind === "gateway";
}
