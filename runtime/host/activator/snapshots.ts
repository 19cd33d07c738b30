import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ReleaseManifest } from "../../spec/manifest.ts";
import { syncDirectory } from "./files.ts";
import { paths } from "./paths.ts";
import { run } from "./run.ts";

type Agents = ReleaseManifest["agents"];

/** Agents of both releases whose runtime is another one in `after`. */
export function agentsWithOtherRuntime(before: ReleaseManifest | null, after: ReleaseManifest): string[] {
  const runtimes = new Map((before?.agents ?? []).map((agent) => [agent.name, agent.component]));
  return after.agents.flatMap(({ name, component }) => {
    const known = runtimes.get(name);
    return known !== undefined && known !== component ? [name] : [];
  });
}

/** Forgets what an earlier switch kept: whatever is there afterwards was taken by the switch that begins now. */
export async function dropSnapshots(before: ReleaseManifest | null, after: ReleaseManifest): Promise<void> {
  if (before === null) return;
  for (const name of agentsWithOtherRuntime(before, after))
    await rm(snapshotOf(before.agents, name), { recursive: true, force: true });
}

/** The state of an agent as it is now, kept as that of the runtime it had. The agent must stand still. */
export async function takeSnapshot(agents: Agents, name: string): Promise<void> {
  const target = snapshotOf(agents, name);
  const next = `${target}.new`;
  await mkdir(join(paths.snapshots, name), { recursive: true, mode: 0o700 });
  await rm(next, { recursive: true, force: true });
  await copy(join(paths.agents, name), next);
  await rm(target, { recursive: true, force: true });
  await rename(next, target);
  await syncDirectory(join(paths.snapshots, name));
}

/**
 * Puts back the state that an agent last had with the runtime it has in `agents`. Without such a snapshot its state is left
 * as it is. Safe to run again after a crash at any point.
 */
export async function restoreSnapshot(agents: Agents, name: string): Promise<void> {
  const kept = snapshotOf(agents, name);
  if ((await stat(kept).catch(() => null)) === null) return;
  const home = join(paths.agents, name);
  const next = `${home}.restoring`;
  const old = `${home}.replaced`;
  await rm(next, { recursive: true, force: true });
  await copy(kept, next);
  await rm(old, { recursive: true, force: true });
  await rename(home, old).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error; // a crash came right here
  });
  await rename(next, home);
  await syncDirectory(paths.agents);
  await rm(old, { recursive: true, force: true });
}

/** Removes snapshots of runtimes that no kept release has. */
export async function collectSnapshots(kept: readonly ReleaseManifest[]): Promise<void> {
  for (const name of await readdir(paths.snapshots).catch(() => []))
    for (const component of await readdir(join(paths.snapshots, name)))
      if (!kept.some(({ agents }) => agents.some((a) => a.name === name && a.component === component)))
        await rm(join(paths.snapshots, name, component), { recursive: true, force: true });
}

function snapshotOf(agents: Agents, name: string): string {
  const component = agents.find((agent) => agent.name === name)?.component;
  if (component === undefined) throw new Error(`agent "${name}" is not in the release whose state is wanted`);
  return join(paths.snapshots, name, component);
}

/** On XFS the copy shares its blocks with the original: it takes no space until one of them changes. */
async function copy(from: string, to: string): Promise<void> {
  await run("cp", ["-a", "--reflink=auto", from, to]);
  await run("sync", ["-f", to]);
}
