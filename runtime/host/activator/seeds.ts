import { mkdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ReleaseManifest } from "../../spec/manifest.ts";
import { syncDirectory } from "./files.ts";
import { paths } from "./paths.ts";
import { run } from "./run.ts";

/**
 * Workspaces that are not there yet are made from their seeds; one that is there, empty or not, is left as it is. A workspace
 * appears whole or not at all, so a switch that was cut seeds it anew.
 */
export async function seedWorkspaces({ seeds = [] }: ReleaseManifest): Promise<void> {
  for (const { path, component } of seeds) {
    const parent = join(paths.data, "workspaces");
    if (dirname(path) !== parent) throw new Error(`the release seeds ${path}, which is no workspace`);
    if ((await stat(path).catch(() => null)) !== null) continue;
    await mkdir(parent, { recursive: true });
    // no workspace has a dot in its name
    const next = `${path}.seed`;
    await rm(next, { recursive: true, force: true });
    // root's, as a workspace is: who may read and write it is said by its ACL afterwards
    await run("cp", [
      "--recursive",
      "--no-dereference",
      "--preserve=mode,links,timestamps",
      join(paths.components, component),
      next,
    ]);
    await run("sync", ["--file-system", next]);
    await rename(next, path);
    await syncDirectory(parent);
  }
}
