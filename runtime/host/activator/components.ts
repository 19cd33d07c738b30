import { createHash } from "node:crypto";
import { createReadStream, type Dirent, lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { lstat, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { CheckAnswer } from "../../spec/activator.ts";
import { digestOf, sha256 } from "../../spec/digest.ts";
import { type TreeEntry, treeDigest } from "../../spec/tree.ts";
import { audit } from "./audit.ts";
import { readIfThere, syncDirectory, writeWhole } from "./files.ts";
import { paths } from "./paths.ts";

const BIG_FILE = 8 * 1024 * 1024;

/**
 * Which of these components are on the host, and whole: their digest is computed anew from what is on the disk, unless no
 * file of them was touched since it was found right. One that is not whole is set aside, so that it is uploaded again; units
 * that run on it are restarted by the next activation.
 */
export async function checkComponents(digests: readonly string[]): Promise<CheckAnswer> {
  const answer = await lookAtComponents(digests);
  if (answer.spoiled.length > 0) await setAside(answer.spoiled);
  return answer;
}

/** The same, and what is not whole stays where it is. What was found is known to the next one who asks. */
export async function lookAtComponents(digests: readonly string[]): Promise<CheckAnswer> {
  const answer: CheckAnswer = { missing: [], spoiled: [] };
  const known = JSON.parse((await readIfThere(CHECKED)) ?? "{}") as Record<string, string>;
  const found: Record<string, string> = {};
  for (const digest of digests) {
    const path = join(paths.components, digest);
    const there = await lstat(path).catch(() => null);
    if (there === null) {
      answer.missing.push(digest);
      continue;
    }
    const stamp = stampOf(path);
    if (stamp === null || (known[digest] !== stamp && (await digestOnDisk(path)) !== digest))
      answer.spoiled.push(digest);
    else found[digest] = stamp;
  }
  if (digestOf(found) !== digestOf(known)) await writeWhole(CHECKED, JSON.stringify(found), 0o600);
  return answer;
}

async function setAside(digests: readonly string[]): Promise<void> {
  await audit("spoiled", { components: digests });
  await remember([...new Set([...(await spoiledComponents()), ...digests])]);
  for (const digest of digests) {
    const aside = join(paths.components, `${digest}.spoiled`);
    await rm(aside, { recursive: true, force: true });
    await rename(join(paths.components, digest), aside);
  }
  await syncDirectory(paths.components);
}

/** Components that were not whole when a unit last started on them. */
export async function spoiledComponents(): Promise<string[]> {
  return JSON.parse((await readIfThere(SPOILED)) ?? "[]") as string[];
}

/** Everything that runs has started on whole components since. */
export async function forgetSpoiled(): Promise<void> {
  for (const digest of await spoiledComponents())
    await rm(join(paths.components, `${digest}.spoiled`), { recursive: true, force: true });
  await rm(SPOILED, { force: true });
}

/** Of each component that was found whole: what its files looked like then. */
const CHECKED = `${paths.components}.checked.json`;

/**
 * What tells that a file was touched: its inode's number, mode, size and time of change, which no program can set. Null if
 * it cannot be read.
 */
function stampOf(root: string): string | null {
  const hash = createHash("sha256");
  const walk = (below: string) => {
    for (const name of readdirSync(join(root, below)).sort()) {
      const path = join(below, name);
      const { ino, mode, size, ctimeNs } = lstatSync(join(root, path), { bigint: true });
      hash.update(`${path}\0${ino}\0${mode}\0${size}\0${ctimeNs}\0`);
      if ((Number(mode) & 0o170000) === 0o040000) walk(path);
    }
  };
  try {
    walk("");
    return hash.digest("hex");
  } catch {
    return null;
  }
}

const SPOILED = `${paths.components}.spoiled.json`;

function remember(digests: readonly string[]): Promise<void> {
  return writeWhole(SPOILED, JSON.stringify(digests), 0o600);
}

/** The digest that a component has by its files as they are now; null if they cannot even be read. */
async function digestOnDisk(root: string): Promise<string | null> {
  const entries: TreeEntry[] = [];
  try {
    await list(root, "", entries);
  } catch {
    return null;
  }
  return treeDigest(entries.sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path))));
}

// Synchronously: of tens of thousands of small files, awaiting each takes longer than reading it.
async function list(root: string, below: string, entries: TreeEntry[]): Promise<void> {
  for (const entry of readdirSync(join(root, below), { withFileTypes: true })) {
    const path = below === "" ? entry.name : `${below}/${entry.name}`;
    entries.push(await leaf(root, path, entry));
    if (entry.isDirectory()) await list(root, path, entries);
  }
}

async function leaf(root: string, path: string, entry: Dirent): Promise<TreeEntry> {
  const file = join(root, path);
  if (entry.isDirectory()) return { path, type: "directory" };
  if (entry.isSymbolicLink()) return { path, type: "link", target: readlinkSync(file) };
  if (!entry.isFile()) throw new Error(`${file} is neither file, directory nor link`);
  const { size, mode } = lstatSync(file);
  return { path, type: "file", executable: (mode & 0o100) !== 0, bytes: size, sha256: await contentDigest(file, size) };
}

async function contentDigest(path: string, bytes: number): Promise<string> {
  if (bytes <= BIG_FILE) return sha256(readFileSync(path));
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) hash.update(chunk as Buffer);
  return hash.digest("hex");
}
