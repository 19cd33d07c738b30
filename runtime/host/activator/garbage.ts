import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { ConfirmAnswer } from "../../spec/activator.ts";
import type { ReleaseManifest } from "../../spec/manifest.ts";
import { audit } from "./audit.ts";
import { generatedCredentials } from "./credentials.ts";
import { history } from "./history.ts";
import { paths } from "./paths.ts";
import { currentRelease, readManifest } from "./release.ts";
import { tryRun } from "./run.ts";
import { collectSnapshots } from "./snapshots.ts";

/**
 * Removes what no kept release uses: releases, components, versions of credentials, snapshots, and parts of uploads that
 * nobody is sending. Kept are the current release and those confirmed last, `keep` in all. Runs under the host's lock.
 */
export async function collectGarbage(keep: number): Promise<ConfirmAnswer> {
  const kept = await keptReleases(keep);
  const removed = {
    releases: await collectReleases(kept),
    components: await collectComponents(kept),
    credentials: await collectCredentials(kept),
  };
  await collectSnapshots(kept);
  await collectParts();
  if (Object.values(removed).some((list) => list.length > 0)) await audit("collected", removed);
  return removed;
}

async function keptReleases(keep: number): Promise<ReleaseManifest[]> {
  const current = await currentRelease();
  const confirmed = (await history()).filter(({ outcome }) => outcome === "confirmed").map(({ release }) => release);
  const newestFirst = [current, ...confirmed.reverse()].filter((digest) => digest !== null);
  const kept: ReleaseManifest[] = [];
  for (const digest of new Set(newestFirst)) {
    if (kept.length >= keep) break;
    const manifest = await readManifest(digest).catch(() => null);
    if (manifest !== null) kept.push(manifest);
  }
  return kept;
}

async function collectReleases(kept: readonly ReleaseManifest[]): Promise<string[]> {
  const digests = new Set(kept.map(({ digest }) => digest));
  const gone = (await readdir(paths.releases)).filter((name) => !digests.has(name));
  for (const name of gone) await rm(join(paths.releases, name), { recursive: true, force: true });
  return gone;
}

/** A push that waits for the lock may have brought a component already; it looks again once it has the lock. */
async function collectComponents(kept: readonly ReleaseManifest[]): Promise<string[]> {
  const used = new Set(kept.flatMap(({ components }) => Object.values(components)));
  const gone = (await readdir(paths.components)).filter((name) => /^[0-9a-f]{64}$/.test(name) && !used.has(name));
  for (const name of gone) await rm(join(paths.components, name), { recursive: true, force: true });
  return gone;
}

async function collectCredentials(kept: readonly ReleaseManifest[]): Promise<string[]> {
  const names = await readdir(paths.credentials);
  const used = new Set(kept.flatMap(({ credentials }) => credentials.map(({ name, version }) => `${name}/${version}`)));
  for (const [name, { version }] of Object.entries(await generatedCredentials(names))) used.add(`${name}/${version}`);
  const gone: string[] = [];
  for (const name of names)
    for (const file of await readdir(join(paths.credentials, name))) {
      const version = /^([0-9a-f]{32})\.cred$/.exec(file)?.[1];
      if (version === undefined || used.has(`${name}/${version}`)) continue;
      await rm(join(paths.credentials, name, file), { force: true });
      gone.push(`${name}/${version}`);
    }
  return gone;
}

async function collectParts(): Promise<void> {
  for (const name of await readdir(paths.incoming).catch(() => [])) {
    const path = join(paths.incoming, name);
    // whoever is sending it holds its lock
    await tryRun("flock", ["--nonblock", path, "rm", "-rf", path]);
  }
}
