import { createHash } from "node:crypto";
import { createReadStream, type Dirent, lstatSync, readFileSync, readlinkSync, realpathSync } from "node:fs";
import { lstat, readdir, realpath } from "node:fs/promises";
import { dirname, isAbsolute, join, relative, resolve } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { sha256 } from "../spec/digest.ts";
import type { TreeEntry } from "../spec/tree.ts";

const BIG_FILE = 8 * 1024 * 1024;

// OpenClaw has 25,000 files: read synchronously that takes seconds less, with turns for others in between.
const FILES_PER_TURN = 64;

export interface TreeOptions {
  /** Most bytes that all files together may have; default: any number. */
  readonly limit?: number;
  /** Whether a path is left out (a directory's ends with `/` and stands for all in it); default: none is. */
  readonly skip?: (path: string) => boolean;
}

/**
 * Everything below a folder, whatever the umask, owner and times of its files: a file is executable if its owner may
 * execute it. A directory of which everything is skipped is left out.
 * @throws naming the path: a link that leaves the folder or points at nothing, anything but files, directories and
 * links, a name that is not UTF-8, or more bytes than the limit
 */
export async function readTree(folder: string, options: TreeOptions = {}): Promise<TreeEntry[]> {
  const { limit = Number.POSITIVE_INFINITY, skip = () => false } = options;
  const root = await realpath(folder).catch((error: NodeJS.ErrnoException) => {
    throw new Error(`folder "${folder}" cannot be read (${error.code ?? error.message}); name a folder that exists`);
  });
  if (!(await lstat(root)).isDirectory()) throw new Error(`"${folder}" is no folder; name one`);
  const found: Found[] = [];
  await walk(root, "", skip, found);
  found.sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
  const bytes = found.reduce((sum, entry) => sum + (entry.type === "file" ? entry.bytes : 0), 0);
  if (bytes > limit)
    throw new Error(
      `folder "${folder}" holds ${mib(bytes)} MiB in files, more than the ${mib(limit)} MiB a component may have; ` +
        `remove what the host does not need, starting with "${largest(found)}"`,
    );
  const listed: TreeEntry[] = [];
  for (const entry of found) {
    if (listed.length % FILES_PER_TURN === 0) await turn();
    if (entry.type === "directory") listed.push(entry);
    else if (entry.type === "link") listed.push(checkedLink(root, folder, entry));
    else listed.push({ ...entry, sha256: await fileDigest(join(root, entry.path), entry.bytes) });
  }
  return listed;
}

type Found =
  | { path: string; type: "directory" }
  | { path: string; type: "link"; target: string }
  | { path: string; type: "file"; executable: boolean; bytes: number };

/** Lists what is below; says whether the folder is to be listed itself. */
async function walk(root: string, below: string, skip: (path: string) => boolean, found: Found[]): Promise<boolean> {
  const entries = await readdir(join(root, below), { withFileTypes: true });
  let kept = entries.length === 0;
  for (const entry of entries) {
    const path = below === "" ? entry.name : `${below}/${entry.name}`;
    if (entry.name.includes("\uFFFD")) throw new Error(`"${path}" in "${root}": the name is not UTF-8; rename it`);
    if (skip(entry.isDirectory() ? `${path}/` : path)) continue;
    if (entry.isDirectory()) {
      if (!(await walk(root, path, skip, found))) continue;
      found.push({ path, type: "directory" });
    } else found.push(leaf(root, path, entry));
    kept = true;
  }
  return kept;
}

function leaf(root: string, path: string, entry: Dirent): Found {
  if (entry.isSymbolicLink()) return { path, type: "link", target: readlinkSync(join(root, path)) };
  if (entry.isFile()) {
    const { mode, size } = lstatSync(join(root, path));
    return { path, type: "file", executable: (mode & 0o100) !== 0, bytes: size };
  }
  const kind = entry.isSocket() ? "socket" : entry.isFIFO() ? "named pipe" : "device";
  throw new Error(`"${path}" in "${root}" is a ${kind}, which cannot be packed; remove it`);
}

function checkedLink<T extends { path: string; target: string }>(root: string, folder: string, link: T) {
  const refuse = (why: string, what: string) =>
    new Error(`link "${link.path}" in "${folder}" points at "${link.target}", ${why}; ${what}`);
  const outside = () =>
    refuse("outside the folder", "replace it by a copy of what it points at, or by a relative link inside the folder");
  // As written, for on the host the folder stands elsewhere; and as followed, for the way may lead through other links.
  if (isAbsolute(link.target) || !within(root, resolve(root, dirname(link.path), link.target))) throw outside();
  const followed = followLink(join(root, link.path));
  if (followed === undefined) throw refuse("where nothing is", "remove it or put there what it points at");
  if (!within(root, followed)) throw outside();
  return link;
}

function followLink(path: string): string | undefined {
  try {
    return realpathSync.native(path); // the other one resolves `link/..` as written
  } catch {
    return undefined;
  }
}

function within(root: string, path: string): boolean {
  const way = relative(root, path);
  return way === "" || (way !== ".." && !way.startsWith("../") && !isAbsolute(way));
}

async function fileDigest(path: string, bytes: number): Promise<string> {
  if (bytes <= BIG_FILE) return sha256(readFileSync(path));
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

function largest(found: readonly Found[]): string {
  const files = found.flatMap((entry) => (entry.type === "file" ? [entry] : []));
  return files.reduce((a, b) => (b.bytes > a.bytes ? b : a), { path: "", bytes: -1 }).path;
}

function mib(bytes: number): number {
  return Math.ceil(bytes / 1024 / 1024);
}
