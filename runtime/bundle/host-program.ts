import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { build, version as esbuildVersion, type Metafile } from "esbuild";
import { digestOf } from "../spec/digest.ts";
import { treeDigest } from "../spec/tree.ts";
import { type BuildOptions, exists } from "./cache.ts";
import { type Component, component } from "./component.ts";
import { nodeBinary } from "./node.ts";
import { readTree } from "./tree.ts";

// CommonJS packages inside an ES module call require(); ES modules have none of their own.
const BANNER =
  'import { createRequire as bailiwickCreateRequire } from "node:module"; const require = bailiwickCreateRequire(import.meta.url);';

// What programs of the host may import besides their own folder and packages, as docs/architecture.md says.
const SHARED = ["runtime/spec", "runtime/policy"];

/**
 * Digest of everything that decides a host program: its folder, the shared sources, the locked packages that are not
 * for development alone, the bundler.
 */
export async function hostProgramInputs(name: string, entry: string): Promise<string> {
  const root = await projectOf(entry);
  const sources = [];
  for (const folder of sourceFolders(root, entry))
    if (await exists(folder)) sources.push([relative(root, folder), treeDigest(await readTree(folder))]);
  const packages = await runtimePackages(root);
  return digestOf(["host-program", name, relative(root, resolve(entry)), BANNER, esbuildVersion, sources, packages]);
}

/**
 * A program of `runtime/host/` bundled into the one file `<name>.mjs`, an ES module for Node.js 24 with everything it
 * imports, licences kept at its end, no source map. The same in every clone: nothing in it depends on where it was built.
 * @param entry its `main.ts`
 * @throws esbuild's errors; or naming an import from outside the program's folder and the shared ones
 */
export async function hostProgramComponent(
  name: string,
  entry: string,
  options: BuildOptions = {},
): Promise<Component> {
  return component({
    ...options,
    name,
    inputs: await hostProgramInputs(name, entry),
    node: await nodeBinary(options),
    make: async (temporary) => {
      options.progress?.(`bundling ${name}`);
      const folder = join(temporary, "tree");
      await mkdir(folder);
      await writeFile(join(folder, `${name}.mjs`), await bundle(name, entry));
      return { folder };
    },
  });
}

async function bundle(name: string, entry: string): Promise<Uint8Array> {
  const root = await projectOf(entry);
  const result = await build({
    entryPoints: { [name]: resolve(entry) },
    absWorkingDir: root,
    outdir: join(root, "bundled"), // nothing is written
    write: false,
    bundle: true,
    metafile: true,
    platform: "node",
    target: "node24",
    format: "esm",
    outExtension: { ".js": ".mjs" },
    banner: { js: BANNER },
    legalComments: "eof",
    sourcemap: false,
    // Paths of modules stand in the output: those below the project's folder, also where node_modules is a link.
    preserveSymlinks: true,
    tsconfigRaw: {},
    charset: "utf8",
    logLevel: "silent",
  });
  refuseForeign(name, root, entry, result.metafile);
  const [file] = result.outputFiles;
  if (file === undefined) throw new Error(`bundling ${entry} gave no file`);
  return file.contents;
}

/** An import from elsewhere would not be among the inputs, and the cache would then give an old program for a new source. */
function refuseForeign(name: string, root: string, entry: string, metafile: Metafile): void {
  const folders = sourceFolders(root, entry).map((folder) => `${relative(root, folder)}/`);
  for (const input of Object.keys(metafile.inputs)) {
    if (input.startsWith("node_modules/") || folders.some((folder) => input.startsWith(folder))) continue;
    throw new Error(
      `${name} imports "${input}"; a host program may import its own folder, ${SHARED.join(", ")} and packages`,
    );
  }
}

function sourceFolders(root: string, entry: string): string[] {
  return [dirname(resolve(entry)), ...SHARED.map((folder) => join(root, folder))];
}

async function projectOf(entry: string): Promise<string> {
  for (let folder = dirname(resolve(entry)); ; folder = dirname(folder)) {
    if (await exists(join(folder, "package-lock.json"))) return folder;
    if (folder === dirname(folder))
      throw new Error(`no package-lock.json above ${entry}; a host program belongs to a project with one`);
  }
}

async function runtimePackages(root: string): Promise<unknown> {
  const lock = JSON.parse(await readFile(join(root, "package-lock.json"), "utf8")) as {
    packages: Record<string, { version?: string; integrity?: string; dev?: boolean }>;
  };
  return Object.entries(lock.packages)
    .filter(([at, found]) => at !== "" && found.dev !== true)
    .map(([at, found]) => [at, found.version, found.integrity]);
}
