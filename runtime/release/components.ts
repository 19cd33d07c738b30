import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Component } from "../bundle/component.ts";
import { folderComponent } from "../bundle/folder.ts";
import { gitSeedComponent } from "../bundle/git-seed.ts";
import { hostProgramComponent } from "../bundle/host-program.ts";
import { lockedServerComponent } from "../bundle/locked-server.ts";
import { nodeComponent } from "../bundle/node.ts";
import { openclawComponent } from "../bundle/openclaw.ts";
import { architectureOf } from "../spec/architecture.ts";
import type { HostSpec } from "../spec/host-spec.ts";
import { requiredComponents } from "./render/requirements.ts";

/**
 * Builds every component that a spec needs, or finds it in the cache, by name.
 * @param options.project folder that relative `source` paths of the spec start from
 */
export async function buildComponents(
  spec: HostSpec,
  options: { project: string; progress: (line: string) => void },
): Promise<Record<string, Component>> {
  const components: Record<string, Component> = {};
  for (const name of requiredComponents(spec)) components[name] = await build(name, spec, options);
  return components;
}

function build(
  name: string,
  spec: HostSpec,
  { project, progress }: { project: string; progress: (line: string) => void },
): Promise<Component> {
  const cpu = architectureOf(spec);
  if (name === "node") return nodeComponent({ progress, cpu });
  if (name === "activator" || name === "model-gateway" || name === "demo-model" || name === "mcp-guard")
    return hostProgramComponent(name, fileURLToPath(new URL(`../host/${name}/main.ts`, import.meta.url)), { progress });
  if (name.startsWith("openclaw-"))
    return openclawComponent({ version: name.slice("openclaw-".length), cpu }, { progress });
  const server = name.startsWith("mcp-server-") ? spec.mcpServers?.[name.slice("mcp-server-".length)] : undefined;
  if (server?.source.kind === "npm")
    return lockedServerComponent(resolve(project, server.source.folder), server.source.lock, { name, progress, cpu });
  const seed = name.startsWith("seed-") ? spec.workspaces[name.slice("seed-".length)]?.seed : undefined;
  if (seed?.kind === "git") return gitSeedComponent(seed, { name, progress });
  if (seed !== undefined) return folderComponent(resolve(project, seed.source), { name, progress });
  const service = name.startsWith("service-") ? spec.models[name.slice("service-".length)]?.service : undefined;
  if (service !== undefined) return folderComponent(resolve(project, service.source), { name, progress });
  const agent = name.startsWith("command-") ? spec.agents[name.slice("command-".length)] : undefined;
  if (agent?.runtime.kind !== "command")
    throw new Error(`the spec needs a component ${name} that this kit cannot build`);
  return folderComponent(resolve(project, agent.runtime.source), { name, progress });
}
