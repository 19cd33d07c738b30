import { readFileSync } from "node:fs";
import { NO_RESOLVER, OWN_RESOLVER, renderHosts } from "../../policy/egress/hosts.ts";
import type { Principal } from "../../policy/egress/principals.ts";
import { RESOLVER_PROGRAM, renderResolver } from "../../policy/egress/resolver.ts";
import { gatewayConfig } from "../../policy/models/gateway-config.ts";
import {
  grantedSecrets,
  mcpTokenCredential,
  secretCredential,
  virtualKeyCredential,
} from "../../policy/secrets/credentials.ts";
import { RUNNER, shellConfig, shellOf } from "../../policy/shell/shell.ts";
import { guardConfig } from "../../policy/tools/guard-config.ts";
import { launcher } from "../../policy/tools/launcher.ts";
import { canonicalJson, digestOf, sha256 } from "../../spec/digest.ts";
import type { HostSpec } from "../../spec/host-spec.ts";
import type { ReleaseFile } from "../../spec/manifest.ts";
import { openclawConfig } from "./openclaw-config.ts";
import type { Provided } from "./requirements.ts";

/** Where a principal's own configuration lies in a release: mounted into its sandbox as a folder, and nobody else's. */
export function configFolder({ kind, name }: Principal): string {
  if (kind === "agent") return `etc/agents/${name}`;
  if (kind === "mcp") return `etc/mcp/${name}`;
  if (kind === "shell") return `etc/shells/${name}`;
  return kind === "model" ? `etc/models/${name}` : `etc/${kind}`;
}

/** What the program of an agent or a shell, and each of its probes, is started by. */
const CONFINE = readFileSync(new URL("./templates/confine.py", import.meta.url), "utf8");

/** What lengthens a bound of OpenClaw's as it is loaded, and where its sandbox shows that; see templates/emulated.mjs. */
const EMULATED = readFileSync(new URL("./templates/emulated.mjs", import.meta.url), "utf8");
const EMULATED_FILE = "emulated.mjs";

/** Options of Node.js for an OpenClaw agent. */
export function openclawOptions(principal: Principal, { emulated }: Provided): string {
  const preload = emulated ? ` --import ${configTarget(principal)}/${EMULATED_FILE}` : "";
  return `--max-old-space-size=512${preload}`;
}

/** Whether a principal's program is started in a scope of its own: see templates/confine.py. */
export function isConfined({ kind }: Principal): boolean {
  return kind === "agent" || kind === "shell";
}

/** Where a principal's configuration folder is mounted in its own sandbox. */
export function configTarget({ kind }: Principal): string {
  return `/etc/bailiwick/${kind}`;
}

/** A principal's own configuration files, but those that it takes by a reload. */
export function configFiles(spec: HostSpec, principal: Principal, provided: Provided): ReleaseFile[] {
  const folder = configFolder(principal);
  const file = (name: string, content: string): ReleaseFile => ({ path: `${folder}/${name}`, mode: 0o444, content });
  const files = [file("hosts", renderHosts(principal.names, principal.forwards))];
  if (principal.kind === "guard") {
    const config = guardConfig(spec, (agent) => provided.textHashes(mcpTokenCredential(agent)));
    files.push(file("guard.json", `${canonicalJson(config)}\n`));
  }
  if (principal.kind === "mcp") {
    const source = spec.mcpServers?.[principal.name]?.source;
    const secrets = source?.kind === "npm" ? source.secrets : {};
    const credentials = Object.entries(secrets).sort(([a], [b]) => (a < b ? -1 : 1));
    files.push(
      file(
        "launcher.mjs",
        launcher(
          Object.fromEntries(credentials.map(([key, secret]) => [key, secretCredential(secret)])),
          grantedSecrets(spec, principal.id).length > 0,
        ),
      ),
    );
  }
  if (isConfined(principal)) files.push(file("confine.py", CONFINE));
  const shell = principal.kind === "shell" ? shellOf(spec, principal.name) : undefined;
  if (shell !== undefined)
    files.push(file("runner.py", RUNNER), file("shell.json", `${canonicalJson(shellConfig(spec, shell))}\n`));
  if (principal.kind === "resolver") files.push(file("resolver.py", RESOLVER_PROGRAM));
  if (principal.kind === "agent" && spec.agents[principal.name]?.runtime.kind === "openclaw") {
    files.push(file("openclaw.json", `${JSON.stringify(openclawConfig(spec, principal), null, 2)}\n`));
    if (provided.emulated) files.push(file(EMULATED_FILE, EMULATED));
  }
  return files;
}

/** The gateway's configuration, which it takes by a reload: it stands in no unit's digest. */
export const GATEWAY_CONFIG = "etc/gateway/gateway.json";

export function gatewayFile(spec: HostSpec, provided: Provided): ReleaseFile {
  const config = gatewayConfig(spec, (agent) => provided.textHashes(virtualKeyCredential(agent)));
  return { path: GATEWAY_CONFIG, mode: 0o444, content: `${canonicalJson(config)}\n` };
}

/** The resolver's configuration, which it takes by a reload. */
export const RESOLVER_CONFIG = "etc/resolver/names.json";

export function resolverFile(principals: readonly Principal[]): ReleaseFile {
  return { path: RESOLVER_CONFIG, mode: 0o444, content: renderResolver(principals) };
}

/** The `/etc/resolv.conf` of all sandboxes, and of those that have a resolver of their own. */
export function resolvConf({ zones }: Pick<Principal, "zones">): ReleaseFile {
  return zones.length === 0
    ? { path: "etc/resolv.conf", mode: 0o444, content: NO_RESOLVER }
    : { path: "etc/resolv-wildcard.conf", mode: 0o444, content: OWN_RESOLVER };
}

/** Stands in a unit as `X-Bailiwick-Config=`, so that its text changes when its configuration does. */
export function configDigest(files: readonly ReleaseFile[], principal: Principal): string {
  return digestOf([...files, resolvConf(principal)].map(({ path, mode, content }) => [path, mode, sha256(content)]));
}
