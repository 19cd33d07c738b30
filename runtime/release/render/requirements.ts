import { byName, hostPrincipals } from "../../policy/egress/principals.ts";
import { agentCredentials, principalSecrets } from "../../policy/secrets/credentials.ts";
import type { HostSpec } from "../../spec/host-spec.ts";
import type { RuntimeSpec } from "../../spec/runtime.ts";
import type { Credential, ReleaseInput } from "./input.ts";

/** Name of the component that an agent's runtime is. */
export function runtimeComponent(agent: string, runtime: RuntimeSpec): string {
  return runtime.kind === "openclaw" ? `openclaw-${runtime.version}` : `command-${agent}`;
}

/** Name of the component that a model server of the operator's own is. */
export function serviceComponent(model: string): string {
  return `service-${model}`;
}

/** Name of the component that an MCP server on the host is. */
export function serverComponent(server: string): string {
  return `mcp-server-${server}`;
}

/** Name of the component that a workspace is first made from. */
export function seedComponent(workspace: string): string {
  return `seed-${workspace}`;
}

/** Names of the components that a release of this spec needs, sorted. */
export function requiredComponents(spec: HostSpec): string[] {
  const principals = hostPrincipals(spec);
  return [
    "node",
    "activator",
    ...(principals.some(({ kind }) => kind === "gateway") ? ["model-gateway"] : []),
    ...(Object.values(spec.models).some(({ provider }) => provider === "demo") ? ["demo-model"] : []),
    ...byName(spec.models).flatMap(([name, { service }]) => (service === undefined ? [] : [serviceComponent(name)])),
    ...(principals.some(({ kind }) => kind === "guard") ? ["mcp-guard"] : []),
    ...principals.flatMap(({ kind, name }) => (kind === "mcp" ? [serverComponent(name)] : [])),
    ...byName(spec.workspaces).flatMap(([name, { seed }]) => (seed === undefined ? [] : [seedComponent(name)])),
    ...new Set(Object.entries(spec.agents).map(([name, { runtime }]) => runtimeComponent(name, runtime))),
  ].sort();
}

/**
 * What must be sealed on the host before a release of this spec can run: `secrets`, names of the operator's secrets (the
 * keys of providers that some agent may call, and what MCP servers need, and what was granted to read), and `generated`, names of credentials that the host makes itself.
 */
export function requiredCredentials(spec: HostSpec): { secrets: string[]; generated: string[] } {
  return {
    secrets: [...new Set(hostPrincipals(spec).flatMap((one) => principalSecrets(spec, one)))].sort(),
    generated: byName(spec.agents)
      .flatMap(([name]) => agentCredentials(spec, name))
      .sort(),
  };
}

/** Looks up components and credentials of an input. */
export class Provided {
  readonly #input: ReleaseInput;

  constructor(input: ReleaseInput) {
    this.#input = input;
  }

  /** Whether the host has a way to IPv6 and none to IPv4. */
  get ipv6Only(): boolean {
    return this.#input.ipv6Only;
  }

  /** Whether the host is emulated. */
  get emulated(): boolean {
    return this.#input.emulated;
  }

  /** Digest of a component. @throws if the input lacks it */
  digest(component: string): string {
    const digest = this.#input.components[component];
    if (digest === undefined || !/^[0-9a-f]{64}$/.test(digest))
      throw new Error(`components.${component}: received ${JSON.stringify(digest)}; build that component first`);
    return digest;
  }

  /** Path of a component on the host. @throws if the input lacks it */
  component(component: string): string {
    return `/opt/bailiwick/components/${this.digest(component)}`;
  }

  /** Path of the bundled Node.js program on the host. */
  nodeProgram(): string {
    return `${this.component("node")}/bin/node`;
  }

  /** A sealed credential, of the operator's secrets or made on the host. @throws if the input lacks it */
  credential(name: string): Credential {
    const version = this.#input.credentials[name] ?? this.#input.generated[name]?.version;
    if (version === undefined || !/^[0-9a-f]{32}$/.test(version))
      throw new Error(`credentials.${name}: received ${JSON.stringify(version)}; seal it on the host first`);
    return { name, version, file: `/etc/bailiwick/credentials/${name}/${version}.cred` };
  }

  /**
   * Hex sha256 of the text of a credential that was made on the host, and of the text before while it is renewed.
   * @throws if the input lacks it
   */
  textHashes(name: string): string[] {
    const { sha256, previous } = this.#input.generated[name] ?? {};
    if (sha256 === undefined || !/^[0-9a-f]{64}$/.test(sha256))
      throw new Error(`generated.${name}: received ${JSON.stringify(sha256)}; have the host make it first`);
    return previous === undefined || previous === sha256 ? [sha256] : [sha256, previous];
  }
}
