import { byName, type Principal } from "../../policy/egress/principals.ts";
import { gatewayTokenCredential, unitCredentials } from "../../policy/secrets/credentials.ts";
import { workspaceMounts, workspacePath } from "../../policy/workspaces/mounts.ts";
import { workspaceQuotas } from "../../policy/workspaces/quotas.ts";
import { digestOf } from "../../spec/digest.ts";
import type { HostSpec } from "../../spec/host-spec.ts";
import type { ReleaseManifest } from "../../spec/manifest.ts";
import { principalPort } from "../../spec/names.ts";
import { GATEWAY_CONFIG, RESOLVER_CONFIG } from "./configs.ts";
import type { ReleaseInput } from "./input.ts";
import { agentHome, openclawWorkspace } from "./openclaw-config.ts";
import { type Provided, requiredComponents, runtimeComponent, seedComponent } from "./requirements.ts";
import { startedUnits } from "./units.ts";

/** Files that a unit takes by a reload, by the kind of its principal. */
const RELOADED: Readonly<Partial<Record<Principal["kind"], string[]>>> = {
  egress: ["etc/egress/haproxy.cfg"],
  gateway: [GATEWAY_CONFIG],
  resolver: [RESOLVER_CONFIG],
};

/** What a release says about itself to the activator and to verify. */
export function releaseManifest(
  { spec, kitVersion }: ReleaseInput,
  principals: readonly Principal[],
  provided: Provided,
  digest: string,
): ReleaseManifest {
  const credentials = new Set(principals.flatMap((principal) => unitCredentials(spec, principal)));
  return {
    apiVersion: "bailiwick/v1",
    host: spec.name,
    digest,
    kit: kitVersion,
    spec: digestOf(spec),
    components: Object.fromEntries(requiredComponents(spec).map((name) => [name, provided.digest(name)])),
    units: principals.flatMap((principal) =>
      startedUnits(principal).map((name) => ({
        name,
        principal: principal.id,
        chain: principal.chain,
        reload: RELOADED[principal.kind] ?? [],
        ready: name.endsWith(".service") ? readyEndpoint(spec, principal) : null,
      })),
    ),
    users: principals.map(({ user, uid, id }) => ({ name: user, uid, principal: id })),
    directories: directories(spec, principals),
    acls: principals.flatMap(({ id, user }) =>
      workspaceMounts(spec, id).map(({ source, mode }) => ({ path: source, user, mode })),
    ),
    ...workspaceParts(spec, provided),
    credentials: [...credentials].sort().map((name) => ({ name, version: provided.credential(name).version })),
    admins: byName(spec.access.admins).map(([name, { uid }]) => ({ name, uid })),
    agents: byName(spec.agents).map(([name, { uid, runtime }]) => ({
      name,
      runtime: runtime.kind,
      component: provided.digest(runtimeComponent(name, runtime)),
      port: principalPort(uid),
      ask:
        runtime.kind === "openclaw"
          ? { path: "/v1/chat/completions", model: "openclaw/default", credential: gatewayTokenCredential(name) }
          : runtime.ask === null
            ? null
            : { path: runtime.ask, model: name, credential: null },
    })),
  };
}

/** What a release does to workspaces besides mounting them. It stands in a file too, for the release's digest to know of it. */
export function workspaceParts(spec: HostSpec, provided: Provided): Pick<ReleaseManifest, "seeds" | "quotas"> {
  const seeds = byName(spec.workspaces).flatMap(([name, { seed }]) =>
    seed === undefined ? [] : [{ path: workspacePath(name), component: provided.digest(seedComponent(name)) }],
  );
  const quotas = workspaceQuotas(spec);
  return { ...(seeds.length === 0 ? {} : { seeds }), ...(quotas.length === 0 ? {} : { quotas }) };
}

function readyEndpoint(spec: HostSpec, { kind, name, port }: Principal): { port: number; path: string } | null {
  if (port === null) return null;
  const service = kind === "model" ? spec.models[name]?.service : undefined;
  if (kind !== "agent" && service === undefined) return { port, path: "/healthz" };
  const runtime = spec.agents[name]?.runtime;
  const path = service !== undefined ? service.health : runtime?.kind === "command" ? runtime.health : "/readyz";
  return path === null ? null : { port, path };
}

function directories(spec: HostSpec, principals: readonly Principal[]): ReleaseManifest["directories"] {
  const list: ReleaseManifest["directories"] = [
    { path: "/var/lib/bailiwick/agents", user: "root", mode: "0755" },
    { path: "/var/lib/bailiwick/workspaces", user: "root", mode: "0755" },
    // 0770: with an ACL the group's bits are its mask, and less would take away what the ACL grants
    ...byName(spec.workspaces).map(([name]) => ({ path: workspacePath(name), user: "root", mode: "0770" })),
  ];
  for (const { kind, name, user } of principals) {
    if (kind === "gateway") list.push({ path: "/var/lib/bailiwick/gateway", user, mode: "0700" });
    if (kind !== "agent") continue;
    const own = `/var/lib/bailiwick/agents/${name}`;
    list.push({ path: own, user: "root", mode: "0755" });
    list.push({ path: `${own}/state`, user, mode: "0700" }, { path: agentHome(name), user, mode: "0700" });
    const workspace = openclawWorkspace(spec, name);
    if (spec.agents[name]?.runtime.kind === "openclaw" && workspace.startsWith(`${own}/`))
      list.push({ path: workspace, user, mode: "0700" });
  }
  return list;
}
