import { mkdir, open, readdir, readFile, readlink, rename, rm } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import type { StageRequest } from "../../spec/activator.ts";
import { ReleaseManifest, releaseDigest } from "../../spec/manifest.ts";
import { readIfThere, syncDirectory } from "./files.ts";
import { paths } from "./paths.ts";

/** Digest of the current release; null before the first, and when the link is no link to a release on this host. */
export async function currentRelease(): Promise<string | null> {
  return (await lookAtCurrent()).release;
}

/** The current release, or what is wrong with the link that should say so; an absent link is no problem. */
export async function lookAtCurrent(): Promise<{ release: string | null; problem: string | null }> {
  const none = (problem: string | null) => ({ release: null, problem });
  const advice = "the host is closed at its next start; push again to repair it";
  let target: string;
  try {
    target = await readlink(paths.current);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return none(null);
    return none(`${paths.current} is no link; ${advice}`);
  }
  const digest = basename(target);
  if (target !== join(paths.releases, digest) || !/^[0-9a-f]{64}$/.test(digest))
    return none(`${paths.current} leads to ${JSON.stringify(target)}, which is no release; ${advice}`);
  const manifest = await readManifest(digest).catch((error: Error) => error);
  if (manifest instanceof Error) return none(`${paths.current}: ${manifest.message}; ${advice}`);
  return { release: digest, problem: null };
}

/** The manifest of a staged release. @throws if it is not on the host */
export async function readManifest(digest: string): Promise<ReleaseManifest> {
  const text = await readIfThere(join(releasePath(digest), "manifest.json"));
  if (text === null) throw new Error(`release ${digest.slice(0, 12)} is not on this host`);
  return ReleaseManifest.parse(JSON.parse(text));
}

export function releasePath(digest: string): string {
  if (!/^[0-9a-f]{64}$/.test(digest))
    throw new Error(`received ${JSON.stringify(digest)}, which is no digest of a release`);
  return join(paths.releases, digest);
}

/**
 * Writes a release's files, checked against its digest, into place by one rename. A release that is there is kept.
 * @throws if the files are not those that the manifest's digest was made of
 */
export async function stage(request: StageRequest): Promise<string> {
  const manifestFile = request.files.find((file) => file.path === "manifest.json");
  if (manifestFile === undefined) throw new Error("the release has no manifest.json");
  const manifest = ReleaseManifest.parse(JSON.parse(manifestFile.content));
  const digest = releaseDigest(request.files);
  if (manifest.digest !== digest)
    throw new Error(`the release's files have digest ${digest}, its manifest says ${manifest.digest}; push again`);
  const target = releasePath(digest);
  if (await isThere(target, request.files)) return digest;
  const next = `${target}.new`;
  await rm(next, { recursive: true, force: true });
  for (const file of request.files) {
    if (!/^[A-Za-z0-9@._-]+(\/[A-Za-z0-9@._-]+)*$/.test(file.path) || file.path.split("/").includes(".."))
      throw new Error(`the release names a file ${JSON.stringify(file.path)}; it must be a plain relative path`);
    const path = join(next, file.path);
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    const handle = await open(path, "wx", file.mode);
    await handle.writeFile(file.content);
    await handle.chmod(file.mode);
    await handle.sync();
    await handle.close();
  }
  // Whatever stands there is not this release: half removed, changed by hand, or of another kit's manifest.
  const old = `${target}.old`;
  await rm(old, { recursive: true, force: true });
  await rename(target, old).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
  await rename(next, target);
  await syncDirectory(paths.releases);
  await rm(old, { recursive: true, force: true });
  return digest;
}

/** Whether a release's folder holds exactly these files. */
async function isThere(target: string, files: StageRequest["files"]): Promise<boolean> {
  const wanted = new Map(files.map((file) => [file.path, file.content]));
  const found = await releaseFiles(target).catch(() => []);
  return found.length === wanted.size && found.every(({ path, content }) => wanted.get(path) === content);
}

/** All files of a release's folder, by their paths in it. */
export async function releaseFiles(target: string): Promise<{ path: string; content: string }[]> {
  const entries = await readdir(target, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
  return Promise.all(
    files.sort().map(async (path) => ({ path: relative(target, path), content: await readFile(path, "utf8") })),
  );
}

/** Text of every unit and drop-in of a release, by unit name, for telling which changed. */
export async function unitTexts(digest: string): Promise<Map<string, string>> {
  const root = join(releasePath(digest), "units");
  const texts = new Map<string, string>();
  const entries = await readdir(root, { recursive: true, withFileTypes: true }).catch(() => []);
  for (const entry of entries
    .filter((e) => e.isFile())
    .sort((a, b) => (join(a.parentPath, a.name) < join(b.parentPath, b.name) ? -1 : 1))) {
    const path = join(entry.parentPath, entry.name);
    const relative = path.slice(root.length + 1);
    const unit = (relative.split("/")[0] ?? relative).replace(/\.d$/, "");
    texts.set(unit, `${texts.get(unit) ?? ""}# ${relative}\n${await readFile(path, "utf8")}`);
  }
  return texts;
}
