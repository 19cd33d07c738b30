import { digestOf } from "../spec/digest.ts";
import type { BuildOptions } from "./cache.ts";
import { type Component, RECIPE } from "./component.ts";
import { folderComponent, folderInputs } from "./folder.ts";
import { hostProgramComponent, hostProgramInputs } from "./host-program.ts";
import { NODE, nodeComponent, nodeInputs } from "./node.ts";
import { OPENCLAW, openclawComponent, openclawInputs } from "./openclaw.ts";

/** A component that a release asks for, before it is built. */
export type ComponentRequest =
  | { readonly kind: "node" }
  | { readonly kind: "openclaw"; readonly version: string }
  | { readonly kind: "host-program"; readonly name: string; readonly entry: string }
  | { readonly kind: "folder"; readonly name: string; readonly path: string };

/** The name of a requested component in its release. */
export function componentName(request: ComponentRequest): string {
  if (request.kind === "node") return NODE;
  return request.kind === "openclaw" ? OPENCLAW : request.name;
}

/**
 * Digest of everything that decides the requested components, in any order, without building or fetching one: equal
 * digests mean equal components. Reads the lock files, sources and folders named.
 */
export async function componentInputs(requests: readonly ComponentRequest[]): Promise<string> {
  const inputs = await Promise.all(requests.map(async (request) => [componentName(request), await inputsOf(request)]));
  return digestOf([RECIPE, Object.fromEntries(inputs)]);
}

/** Builds a requested component, or takes it from the cache. Throws what the builder of its kind throws. */
export async function buildComponent(request: ComponentRequest, options: BuildOptions = {}): Promise<Component> {
  switch (request.kind) {
    case "node":
      return nodeComponent(options);
    case "openclaw":
      return openclawComponent(request, options);
    case "host-program":
      return hostProgramComponent(request.name, request.entry, options);
    case "folder":
      return folderComponent(request.path, { ...options, name: request.name });
  }
}

async function inputsOf(request: ComponentRequest): Promise<string> {
  switch (request.kind) {
    case "node":
      return nodeInputs();
    case "openclaw":
      return openclawInputs(request);
    case "host-program":
      return hostProgramInputs(request.name, request.entry);
    case "folder":
      return folderInputs(request.path);
  }
}
