import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join, relative, resolve, sep } from "node:path";
import { refuse, refuseTokens } from "./refuse.ts";

/**
 * A folder that is sent to a host, as it stands in the spec: relative to the project if it lies inside it, so two clones
 * have equal specs, else absolute.
 * @throws Refusal unless it is a folder that holds neither the home directory, nor the project, nor Terraform state
 */
export function sourceFolder(path: string, folder: unknown): string {
  refuseTokens(path, folder);
  if (typeof folder !== "string" || folder === "") refuse(path, folder, "give the path of a folder");
  if (folder.startsWith("~"))
    refuse(path, folder, "no shell expands ~; give an absolute path, or one relative to the project");
  const absolute = resolve(folder);
  if (statSync(absolute, { throwIfNoEntry: false })?.isDirectory() !== true)
    refuse(path, folder, `there is no folder ${absolute}; paths are relative to the project`);
  const real = realpathSync(absolute);
  for (const home of new Set([homedir(), process.env.HOME ?? homedir()].map(realOrSame)))
    if (home === real || inside(home, real))
      refuse(
        path,
        folder,
        `it ${home === real ? "is" : "contains"} the home directory, which would be sent to the host; give the agent's own folder`,
      );
  const project = realOrSame(process.cwd());
  if (project === real || inside(project, real))
    refuse(path, folder, "it contains the project, with Terraform's state in it; give the agent's own folder below it");
  const state = readdirSync(real).find((name) => /\.tfstate(\.|$)/.test(name) || name === ".terraform");
  if (state !== undefined)
    refuse(
      path,
      folder,
      `it contains Terraform state (${state}), which would be sent to the host; give a folder below`,
    );
  const inProject = relative(process.cwd(), absolute);
  return inside(absolute, process.cwd()) ? `./${inProject.split(sep).join("/")}` : absolute;
}

/** sha256 over paths, types, execute bits and contents of all files below the folders and files given. */
export function treeDigest(roots: readonly { readonly label: string; readonly path: string }[]): string {
  const hash = createHash("sha256");
  for (const { label, path } of roots) visit(path, label);
  return hash.digest("hex");

  function visit(path: string, label: string): void {
    const stat = lstatSync(path);
    if (stat.isDirectory()) {
      for (const name of readdirSync(path).sort())
        if (name !== "node_modules" || !SKIPS_MODULES.test(label)) visit(join(path, name), `${label}/${name}`);
      return;
    }
    if (stat.isSymbolicLink()) add(label, "link", Buffer.from(readlinkSync(path)));
    else if (stat.isFile()) add(label, (stat.mode & 0o111) === 0 ? "file" : "program", readFileSync(path));
  }

  function add(label: string, type: string, content: Buffer): void {
    const sum = createHash("sha256").update(content).digest("hex");
    hash.update(`${JSON.stringify([label, type, sum])}\n`);
  }
}

// The kit's own folders pin their modules by a lock file; installed ones are no input. A team's folder is sent as it is.
const SKIPS_MODULES = /^kit\//;

function inside(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return way !== "" && !way.startsWith("..") && !isAbsolute(way);
}

function realOrSame(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
