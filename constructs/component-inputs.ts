import { resolve } from "node:path";
import { digestOf } from "../runtime/spec/digest.ts";
import type { Agent } from "./agent.ts";
import { kitInputsDigest } from "./kit.ts";
import { treeDigest } from "./source-folder.ts";

/** Digest of all files that decide a host's components: the kit's own, and the folders that its agents run from. */
export function componentsDigest(agents: readonly Agent[]): string {
  const folders = agents.flatMap(({ name, runtime: { spec } }) =>
    spec.kind === "command" ? [{ label: name, path: resolve(spec.source) }] : [],
  );
  return digestOf({ kit: kitInputsDigest(), folders: treeDigest(folders) });
}
