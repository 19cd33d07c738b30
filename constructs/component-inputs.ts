import { resolve } from "node:path";
import { digestOf } from "../runtime/spec/digest.ts";
import type { Agent } from "./agent.ts";
import { kitInputsDigest } from "./kit.ts";
import type { Model } from "./model.ts";
import { treeDigest } from "./source-folder.ts";
import type { Workspace } from "./workspace.ts";

/** Digest of all files that decide a host's components: the kit's own, and the folders that agents and model servers run from and workspaces are made from. */
export function componentsDigest(
  agents: readonly Agent[],
  models: readonly Model[],
  workspaces: readonly Workspace[],
): string {
  const folders = agents.flatMap(({ name, runtime: { spec } }) =>
    spec.kind === "command" ? [{ label: name, path: resolve(spec.source) }] : [],
  );
  for (const { name, provider } of models)
    if (provider.service !== null) folders.push({ label: `models/${name}`, path: resolve(provider.service.source) });
  for (const { name, spec } of workspaces)
    if (spec.seed?.kind === "folder") folders.push({ label: `workspaces/${name}`, path: resolve(spec.seed.source) });
  return digestOf({ kit: kitInputsDigest(), folders: treeDigest(folders) });
}
