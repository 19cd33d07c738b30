import { Token } from "cdktf";
import type { ModelPrice } from "../runtime/policy/models/schema.ts";
import type { Binding } from "../runtime/spec/binding.ts";
import type { HostSpec } from "../runtime/spec/host-spec.ts";
import type { Access } from "./access.ts";
import type { Agent } from "./agent.ts";
import type { GrantBook } from "./grants.ts";
import type { Machine } from "./machines/machine.ts";
import type { McpServer } from "./mcp-server.ts";
import type { Model } from "./model.ts";
import type { ModelProvider } from "./model-provider.ts";
import { listPrice } from "./prices.ts";
import type { Workspace } from "./workspace.ts";

export interface HostParts {
  readonly name: string;
  readonly os: HostSpec["os"];
  readonly baseline: string;
  readonly machine: Machine;
  readonly access: Access;
  /** Networks that may reach sshd instead of those of `access`; undefined: those. */
  readonly sshFrom: readonly string[] | undefined;
  readonly timeouts: HostSpec["timeouts"];
  readonly keepReleases: number;
  readonly budget: HostSpec["budget"];
  readonly models: readonly Model[];
  readonly agents: readonly Agent[];
  readonly workspaces: readonly Workspace[];
  readonly mcpServers: readonly McpServer[];
  readonly grants: GrantBook;
}

export interface AssembledSpec {
  readonly spec: HostSpec;
  /** What the spec's bindings stand for: tokens by key. */
  readonly values: Readonly<Record<string, string>>;
}

/** The spec of a host as it stands now, not yet validated. */
export function assembleSpec(host: HostParts): AssembledSpec {
  const values: Record<string, string> = {};
  const bind = (key: string, value: Access["from"][number]): string | Binding => {
    const text = "text" in value ? value.text : "";
    // A value that is missing is bound to nothing; the stack's precondition fails before it could be used.
    if ("text" in value && !Token.isUnresolved(text)) return text;
    values[key] = text;
    return { $binding: key };
  };
  const urlOf = (name: string, url: string | null) => (url === null ? null : bind(`models.${name}.url`, { text: url }));
  const { admins } = host.access;
  const from = host.sshFrom?.map((text) => ({ text })) ?? host.access.from;
  const spec: HostSpec = {
    apiVersion: "bailiwick/v1",
    name: host.name,
    os: host.os,
    baseline: host.baseline,
    machine: machineEntry(host.machine.spec, bind),
    access: {
      bootstrapAdmin: admins[0]?.name ?? "",
      admins: Object.fromEntries(
        admins.map(({ name, uid, key }) => [name, { uid, publicKey: bind(`access.admins.${name}.publicKey`, key) }]),
      ),
      from: from.map((network, i) => bind(`access.from[${i}]`, network)),
    },
    secrets: Object.fromEntries(host.grants.secrets.map(({ name, source }) => [name, { source }])),
    models: Object.fromEntries(
      host.models.map(({ name, uid, provider, budget, fallback, logContent }) => [
        name,
        {
          provider: provider.kind,
          url: urlOf(name, provider.url),
          apiKey: provider.apiKey?.name ?? null,
          uid,
          prices: grantedPrices(host.grants, name, provider),
          budget,
          fallback,
          ...(logContent ? { logContent } : {}),
          ...(provider.service === null ? {} : { service: provider.service }),
        },
      ]),
    ),
    agents: Object.fromEntries(
      host.agents.map(({ name, uid, runtime, budget, limits }) => [
        name,
        { uid, runtime: runtime.spec, budget, ...(limits === undefined ? {} : { limits }) },
      ]),
    ),
    workspaces: Object.fromEntries(host.workspaces.map(({ name, spec }) => [name, spec])),
    ...(host.mcpServers.length === 0 ? {} : { mcpServers: Object.fromEntries(host.mcpServers.map(serverEntry)) }),
    grants: { ...host.grants.all(), ...shellGrants(host.grants) },
    budget: host.budget,
    timeouts: host.timeouts,
    keepReleases: host.keepReleases,
  };
  return { spec, values };
}

function shellGrants({ shells }: GrantBook): Pick<HostSpec["grants"], "shell"> {
  return shells.length === 0 ? {} : { shell: shells.map((shell) => shell.grant()) };
}

/** What Terraform knows of the machine at apply only is bound, as `machine.<field>`. */
function machineEntry(
  machine: Machine["spec"],
  bind: (key: string, value: { text: string }) => string | Binding,
): HostSpec["machine"] {
  const fields = Object.entries(machine).map(([key, value]) =>
    typeof value === "string" ? [key, bind(`machine.${key}`, { text: value })] : [key, value],
  );
  return Object.fromEntries(fields) as HostSpec["machine"];
}

/** The prices that are known of the models granted: set by the operator, or the list's. */
function grantedPrices(grants: GrantBook, name: string, provider: ModelProvider): Record<string, ModelPrice> {
  const ids = grants.all().invoke.flatMap(({ model, models }) => (model === name ? models : []));
  const prices: Record<string, ModelPrice> = {};
  for (const id of [...new Set(ids)].sort()) {
    const price = provider.prices[id] ?? listPrice(provider.kind, id);
    if (price !== undefined) prices[id] = price;
  }
  return prices;
}

function serverEntry({ name, uid, package: { source }, pinned }: McpServer) {
  return [name, { uid, source, tools: pinned }] as const;
}
