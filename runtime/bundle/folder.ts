import { basename, resolve } from "node:path";
import { digestOf } from "../spec/digest.ts";
import { type TreeEntry, treeDigest } from "../spec/tree.ts";
import type { BuildOptions } from "./cache.ts";
import { type Component, component } from "./component.ts";
import { nodeBinary } from "./node.ts";
import { readTree } from "./tree.ts";

/** Most bytes that the files of a user's folder may have together: 1 GiB. */
const FOLDER_LIMIT = 1024 ** 3;

/** Digest of everything in a user's folder; reads all of it. */
export async function folderInputs(path: string): Promise<string> {
  return inputsOf(await readTree(path, { limit: FOLDER_LIMIT }));
}

/**
 * A user's folder as a component: every file, directory and link of it, whatever they are called; no ignore file is read.
 * @param path absolute, or relative to the working directory
 * @param options `name` in the release's components; default: the folder's own
 * @throws naming the path: a link that leaves the folder or points at nothing, a socket, pipe or device, more than
 * 1 GiB, or a file that changes while it is packed
 */
export async function folderComponent(
  path: string,
  options: BuildOptions & { readonly name?: string } = {},
): Promise<Component> {
  const folder = resolve(path);
  const entries = await readTree(folder, { limit: FOLDER_LIMIT });
  return component({
    ...options,
    name: options.name ?? basename(folder),
    inputs: inputsOf(entries),
    node: await nodeBinary(options),
    make: async () => ({ folder, entries }),
  });
}

function inputsOf(entries: readonly TreeEntry[]): string {
  return digestOf(["folder", treeDigest(entries)]);
}
