import { join } from "node:path";
import type { Architecture } from "../spec/architecture.ts";
import { digestOf } from "../spec/digest.ts";
import type { BuildOptions } from "./cache.ts";
import { type Component, component } from "./component.ts";
import { foreignLockedPackages, lockedPackages, targetOf } from "./locked-packages.ts";
import { nodeBinary, nodeInputs } from "./node.ts";
import { install, pinnedNpm } from "./npm.ts";

/**
 * An MCP server as a team's lock file has it: `npm ci` with no package's script being run, for the host's platform.
 * @param folder with package.json and package-lock.json
 * @param lock sha256 of that package-lock.json as the spec has it
 * @throws if the lock file is another one, or if npm cannot fetch a package, or fetched something else
 */
export async function lockedServerComponent(
  folder: string,
  lock: string,
  options: BuildOptions & { readonly name: string; readonly cpu: Architecture },
): Promise<Component> {
  const target = targetOf(options.cpu);
  const [locked, npm, nodeDigest] = await Promise.all([
    foreignLockedPackages(folder, lock),
    lockedPackages("npm"),
    nodeInputs(),
  ]);
  const node = await nodeBinary(options);
  return component({
    ...options,
    inputs: digestOf(["locked-server", target, locked.digest, npm.digest, nodeDigest]),
    node,
    make: async (temporary) => {
      const into = join(temporary, "install");
      options.progress?.(`installing ${options.name}: ${locked.packages.size} locked packages`);
      await install(locked, into, await pinnedNpm(node, options), target);
      return { folder: into };
    },
  });
}
