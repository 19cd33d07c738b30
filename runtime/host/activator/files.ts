import { randomBytes } from "node:crypto";
import { lstat, open, readFile, rename, rm, symlink } from "node:fs/promises";
import { dirname } from "node:path";

/** Writes a file so that after a crash either the old or the new content is there, whole. */
export async function writeWhole(path: string, content: string | Uint8Array, mode: number): Promise<void> {
  const next = `${path}.${randomBytes(6).toString("hex")}.new`;
  try {
    const file = await open(next, "wx", mode);
    try {
      await file.writeFile(content);
      await file.chmod(mode); // open's mode is cut by the umask
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(next, path);
  } catch (error) {
    await rm(next, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
}

/** Points a symlink at another target in one step, whatever stands in its place. */
export async function switchLink(link: string, target: string): Promise<void> {
  const next = `${link}.${randomBytes(6).toString("hex")}.new`;
  await symlink(target, next);
  const there = await lstat(link).catch(() => null);
  if (there?.isDirectory()) await rm(link, { recursive: true }); // no rename replaces a directory
  await rename(next, link);
  await syncDirectory(dirname(link));
}

/** Brings to the disk which names a directory has. */
export function syncDirectory(path: string): Promise<void> {
  return syncFile(path);
}

/** Brings a file's content to the disk. */
export async function syncFile(path: string): Promise<void> {
  const file = await open(path, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** The file's text, or null if there is no such file. */
export async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}
