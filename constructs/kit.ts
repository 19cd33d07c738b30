import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { treeDigest } from "./source-folder.ts";

const root = fileURLToPath(new URL("../", import.meta.url));

/** Version of this kit, from its package.json. */
export const KIT_VERSION: string = readVersion();

/** Path of the `bailiwick` command of this kit. */
export const KIT_COMMAND = `${root}bin/bailiwick.mjs`;

/** Files that decide what a component or a release is, besides the spec. The kit's version alone does not see an edit. */
const INPUTS = [
  "runtime/bundle",
  "runtime/host",
  "runtime/policy",
  "runtime/release",
  "runtime/spec",
  "cloud-init/render.ts",
];

let inputs: string | undefined;

/** Digest of the kit's files that decide components and releases, read once. */
export function kitInputsDigest(): string {
  inputs ??= treeDigest(INPUTS.map((path) => ({ label: `kit/${path}`, path: root + path })));
  return inputs;
}

function readVersion(): string {
  const { version } = JSON.parse(readFileSync(`${root}package.json`, "utf8")) as { version: string };
  return version;
}
