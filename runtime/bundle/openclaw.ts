import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Architecture } from "../spec/architecture.ts";
import { digestOf } from "../spec/digest.ts";
import type { BuildOptions } from "./cache.ts";
import { type Component, component } from "./component.ts";
import { type LockedPackages, lockedPackages, targetOf } from "./locked-packages.ts";
import { nodeBinary, nodeInputs } from "./node.ts";
import { install, pinnedNpm, run } from "./npm.ts";
import { OPENCLAW_TRIM, trimmedBy } from "./openclaw-trim.ts";
import { readTree } from "./tree.ts";

/** Name of OpenClaw in a release's components. */
export const OPENCLAW = "openclaw";

/** The program to run, relative to the component. */
export const OPENCLAW_ENTRY = "node_modules/openclaw/openclaw.mjs";

interface OpenClaw {
  readonly version: string;
  /** @default x64 */
  readonly cpu?: Architecture;
}

/** Digest of everything that decides OpenClaw's component: lock file, trimming, the Node.js and npm that install it. */
export async function openclawInputs({ version, cpu = "x64" }: OpenClaw): Promise<string> {
  const [locked, npm, node] = await Promise.all([lockOf(version), lockedPackages("npm"), nodeInputs()]);
  const rules = OPENCLAW_TRIM.map((rule) => [rule.name, rule.path.source]);
  return digestOf([OPENCLAW, targetOf(cpu), locked.digest, npm.digest, node, rules]);
}

/**
 * OpenClaw as its lock file in this kit has it: installed with no package's script being run but OpenClaw's own
 * postinstall, then trimmed. Takes a minute or two and 700 MB of temporary space the first time.
 * @throws if this kit has no lock file for that version, naming those it has; if npm cannot fetch a package, or what
 * it fetched is not what the lock file says
 */
export async function openclawComponent(
  { version, cpu = "x64" }: OpenClaw,
  options: BuildOptions = {},
): Promise<Component> {
  const locked = await lockOf(version);
  const node = await nodeBinary(options);
  return component({
    ...options,
    name: OPENCLAW,
    inputs: await openclawInputs({ version, cpu }),
    node,
    make: async (temporary) => {
      const folder = join(temporary, "install");
      options.progress?.(`installing OpenClaw ${version}: ${locked.packages.size} locked packages`);
      await install(locked, folder, await pinnedNpm(node, options), targetOf(cpu));
      await postinstall(node, folder, temporary);
      return { folder, entries: await readTree(folder, { skip: (path) => trimmedBy(path) !== undefined }) };
    },
  });
}

/**
 * OpenClaw's own postinstall, so that its first start on the host, where it may not write there, finds nothing left to do.
 * It gets no PATH: it would fetch a missing native package by npm, past the lock file (none is missing: `install` checks).
 */
async function postinstall(node: string, folder: string, temporary: string): Promise<void> {
  const home = join(temporary, "home");
  const script = join(folder, "node_modules", "openclaw", "scripts", "postinstall-bundled-plugins.mjs");
  await run(node, [script], join(folder, "node_modules", "openclaw"), { HOME: home, PATH: "" });
}

async function lockOf(version: string): Promise<LockedPackages> {
  const known = (await readdir(fileURLToPath(new URL("openclaw", import.meta.url)))).sort();
  if (!known.includes(version))
    throw new Error(
      `received OpenClaw version "${version}", for which this kit has no lock file; use ${known.join(" or ")}`,
    );
  return lockedPackages(`openclaw/${version}`);
}
