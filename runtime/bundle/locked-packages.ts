import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as z from "zod";
import type { Architecture } from "../spec/architecture.ts";
import { digestOf, sha256 } from "../spec/digest.ts";

const Package = z.looseObject({
  // the root may have none
  version: z.string().optional(),
  integrity: z.string().optional(),
  resolved: z.string().optional(),
  inBundle: z.boolean().optional(),
  optional: z.boolean().optional(),
  os: z.union([z.string(), z.array(z.string())]).optional(),
  cpu: z.union([z.string(), z.array(z.string())]).optional(),
  libc: z.union([z.string(), z.array(z.string())]).optional(),
});

const LockFile = z.looseObject({ lockfileVersion: z.literal(3), packages: z.record(z.string(), Package) });

/** A folder of this kit with a package.json and the package-lock.json that alone decides what npm installs from it. */
export interface LockedPackages {
  readonly folder: string;
  /** Digest of both files. */
  readonly digest: string;
  readonly packageJson: string;
  readonly lockFile: string;
  /** Packages by place (`node_modules/zod`), without the root. */
  readonly packages: ReadonlyMap<string, z.infer<typeof Package>>;
}

/**
 * Reads a lock folder of this kit, by its path in `runtime/bundle/`.
 * @throws if a package has no integrity (one bundled inside another is covered by that one's) or names the host it
 * comes from: then something else than the lock file would decide what is installed
 */
export async function lockedPackages(name: string): Promise<LockedPackages> {
  const folder = fileURLToPath(new URL(name, import.meta.url));
  const [packageJson, lockFile] = await Promise.all([
    readFile(join(folder, "package.json"), "utf8"),
    readFile(join(folder, "package-lock.json"), "utf8"),
  ]);
  const locked = parsed(folder, packageJson, lockFile);
  for (const [at, found] of locked.packages)
    if (found.resolved !== undefined)
      throw new Error(`${folder}/package-lock.json: "${at}" names its registry; remove its "resolved"`);
  return locked;
}

/**
 * Reads a team's own lock folder. npm notes where it fetched each package from; that is left out here, so packages come from
 * wherever this machine's npm takes them, and are the ones of the lock file by their integrity.
 * @param sha256 of the package-lock.json as the spec has it
 * @throws if it is another one, or if a package has no integrity: one from git, a folder or a link
 */
export async function foreignLockedPackages(folder: string, sha256OfLock: string): Promise<LockedPackages> {
  const [packageJson, text] = await Promise.all([
    readFile(join(folder, "package.json"), "utf8"),
    readFile(join(folder, "package-lock.json"), "utf8"),
  ]);
  if (sha256(text) !== sha256OfLock)
    throw new Error(`${folder}/package-lock.json has changed since synth; run it again`);
  const { packages, ...rest } = LockFile.parse(JSON.parse(text));
  const unplaced = Object.entries(packages).map(([at, { resolved: _, ...found }]) => [at, found] as const);
  return parsed(
    folder,
    packageJson,
    `${JSON.stringify({ ...rest, packages: Object.fromEntries(unplaced) }, null, 2)}\n`,
  );
}

function parsed(folder: string, packageJson: string, lockFile: string): LockedPackages {
  const packages = new Map(Object.entries(LockFile.parse(JSON.parse(lockFile)).packages).filter(([at]) => at !== ""));
  for (const [at, found] of packages)
    if (found.integrity === undefined && found.inBundle !== true)
      throw new Error(`${folder}/package-lock.json: "${at}" has no integrity; generate the lock file again`);
  return { folder, digest: digestOf([packageJson, lockFile]), packageJson, lockFile, packages };
}

/** A platform that components are built for. */
export interface Target {
  readonly os: "linux";
  readonly cpu: Architecture;
  readonly libc: "glibc";
}

/** The platform of a host with this architecture. */
export function targetOf(cpu: Architecture): Target {
  return { os: "linux", cpu, libc: "glibc" };
}

/**
 * Places of the packages that must be there after an install for the target: all but the optional ones that are for
 * another platform, or that only such a one needs.
 */
export function expectedPackages(locked: LockedPackages, target: Target): string[] {
  const forTarget = (found: z.infer<typeof Package>) =>
    (["os", "cpu", "libc"] as const).every((key) => allows(found[key], target[key]));
  return [...locked.packages].filter(([, found]) => found.optional !== true || forTarget(found)).map(([at]) => at);
}

function allows(wanted: string | readonly string[] | undefined, value: string): boolean {
  const list = wanted === undefined ? [] : typeof wanted === "string" ? [wanted] : wanted;
  const refused = list.filter((item) => item.startsWith("!")).map((item) => item.slice(1));
  const taken = list.filter((item) => !item.startsWith("!"));
  return !refused.includes(value) && (taken.length === 0 || taken.includes(value) || taken.includes("any"));
}
