import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Architecture } from "../spec/architecture.ts";
import { digestOf } from "../spec/digest.ts";
import { type BuildOptions, buildOnce, cacheFolder } from "./cache.ts";
import { type Component, component } from "./component.ts";
import { lockedPackages, targetOf } from "./locked-packages.ts";
import { install, npmOfMachine } from "./npm.ts";

/** Name of the bundled Node.js in a release's components. */
export const NODE = "node";

/** The folder of the lock file that pins it. */
const LOCKS: Readonly<Record<Architecture, string>> = { x64: "node", arm64: "node-arm64" };

/** Digest of everything that decides the bundled Node.js. */
export async function nodeInputs(cpu: Architecture = "x64"): Promise<string> {
  return digestOf([NODE, (await lockedPackages(LOCKS[cpu])).digest]);
}

/**
 * The bundled Node.js 24: `bin/node` and its LICENSE, as the npm registry's platform package has them. The binary is
 * not stripped: as an archive that saves 3 of 38 MB, and would need binutils of one version on every operator's machine.
 * @throws if npm cannot fetch it
 */
export async function nodeComponent(options: BuildOptions & { readonly cpu?: Architecture } = {}): Promise<Component> {
  const { cpu = "x64" } = options;
  const folder = await nodeFolder(options, cpu);
  return component({
    ...options,
    name: NODE,
    inputs: await nodeInputs(cpu),
    node: await nodeBinary(options),
    make: async () => ({ folder }),
  });
}

/**
 * Path of the bundled Node.js on this machine, for programs that need that very version: OpenClaw's installation,
 * tests of host programs. Fetched at the first call.
 * @throws on anything but Linux on x86-64, and if npm cannot fetch it
 */
export async function nodeBinary(options: BuildOptions = {}): Promise<string> {
  return join(await nodeFolder(options, "x64"), "bin", "node");
}

async function nodeFolder(options: BuildOptions, cpu: Architecture): Promise<string> {
  if (process.platform !== "linux" || process.arch !== "x64")
    throw new Error(
      `components are built on linux/x64, this is ${process.platform}/${process.arch}; use such a machine`,
    );
  const folder = join(options.cache ?? cacheFolder(), NODE, await nodeInputs(cpu));
  await buildOnce(
    folder,
    async (temporary) => {
      options.progress?.("fetching Node.js");
      const work = join(temporary, "work");
      await install(await lockedPackages(LOCKS[cpu]), work, await npmOfMachine(), targetOf(cpu));
      const fetched = join(work, "node_modules", `node-linux-${cpu}`);
      await mkdir(join(temporary, "bin"));
      await rename(join(fetched, "bin", "node"), join(temporary, "bin", "node"));
      await rename(join(fetched, "LICENSE"), join(temporary, "LICENSE"));
      await rm(work, { recursive: true });
    },
    options.progress,
  );
  return folder;
}
