import { randomBytes } from "node:crypto";
import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { digestOf } from "../spec/digest.ts";
import { type TreeEntry, treeDigest } from "../spec/tree.ts";
import { type BuildOptions, buildOnce, cacheFolder, exists } from "./cache.ts";
import { type Archive, pack } from "./pack.ts";
import { readTree } from "./tree.ts";

/**
 * Part of a release, content-addressed: `digest` is `treeDigest` of its files, whatever tool packed them; on the host
 * it is /opt/bailiwick/components/<digest>/. `archive` is a `tar.zst` on this machine.
 */
export interface Component {
  readonly name: string;
  readonly digest: string;
  readonly archive: Archive;
}

/** Raised when the same inputs are made into another tree or archive than before, so that no cache is trusted. */
export const RECIPE = 1;

const Stored = z.strictObject({
  digest: z.string(),
  archive: z.strictObject({ sha256: z.string(), bytes: z.number().int() }),
});

const RECORD = "component.json";
const ARCHIVE = "archive.tar.zst";

interface Recipe extends BuildOptions {
  readonly name: string;
  /** Digest of everything that decides the tree. */
  readonly inputs: string;
  /** The bundled Node.js, which compresses. */
  readonly node: string;
  /**
   * Makes the tree, if it likes in the given temporary folder.
   * @returns the folder that is the component, and its listing if it was read already
   */
  readonly make: (temporary: string) => Promise<{ folder: string; entries?: readonly TreeEntry[] }>;
}

/** The component of a recipe: from the cache if its inputs were built before (the archive is there whole), else built. */
export async function component(recipe: Recipe): Promise<Component> {
  const { name, inputs, progress } = recipe;
  const folder = join(recipe.cache ?? cacheFolder(), "components", digestOf([RECIPE, inputs]));
  const cached = await recorded(name, folder);
  if (cached !== undefined) return cached;
  await buildOnce(
    folder,
    async (temporary) => {
      const work = join(temporary, `work-${randomBytes(4).toString("hex")}`);
      await mkdir(work);
      const made = await recipe.make(work);
      const entries = made.entries ?? (await readTree(made.folder));
      progress?.(`packing ${name}`);
      const { sha256, bytes } = await pack(made.folder, entries, join(temporary, ARCHIVE), recipe.node);
      await rm(work, { recursive: true });
      const record: z.infer<typeof Stored> = { digest: treeDigest(entries), archive: { sha256, bytes } };
      await writeFile(join(temporary, RECORD), JSON.stringify(record));
    },
    progress,
  );
  const built = await recorded(name, folder);
  if (built === undefined) throw new Error(`${folder} was removed while it was being read; run again`);
  return built;
}

/** What the cache holds at a folder; a record that does not fit its archive is removed, to be built anew. */
async function recorded(name: string, folder: string): Promise<Component | undefined> {
  if (!(await exists(folder))) return undefined;
  const text = await readFile(join(folder, RECORD), "utf8").catch(() => undefined);
  const record = text === undefined ? undefined : Stored.safeParse(parsed(text)).data;
  const path = join(folder, ARCHIVE);
  const bytes = await stat(path).then(
    (found) => found.size,
    () => undefined,
  );
  if (record !== undefined && bytes === record.archive.bytes)
    return { name, digest: record.digest, archive: { path, ...record.archive } };
  await rm(folder, { recursive: true, force: true });
  return undefined;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
