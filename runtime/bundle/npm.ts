import { execFile, spawn } from "node:child_process";
import { mkdir, readFile, realpath, rename, rm, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { digestOf } from "../spec/digest.ts";
import { type BuildOptions, buildOnce, cacheFolder, exists } from "./cache.ts";
import { expectedPackages, type LockedPackages, lockedPackages, type Target, targetOf } from "./locked-packages.ts";

/** A program that runs npm: the Node.js to run, and npm's own `npm-cli.js`. */
export interface Npm {
  readonly node: string;
  readonly cli: string;
}

/** The npm of this machine, under the Node.js that runs now: good enough to fetch one package whose hash is known. */
export async function npmOfMachine(env: NodeJS.ProcessEnv = process.env): Promise<Npm> {
  const onPath = (env.PATH ?? "").split(delimiter).map((folder) => join(folder, "npm"));
  for (const candidate of [env.npm_execpath, ...onPath]) {
    const cli = candidate === undefined ? undefined : await realpath(candidate).catch(() => undefined);
    if (cli?.endsWith("/npm-cli.js")) return { node: process.execPath, cli };
  }
  // npm on PATH may be a launcher of a version manager
  const root = await promisify(execFile)("npm", ["root", "-g"], { env }).then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  );
  const cli = root === undefined ? undefined : join(root, "npm", "bin", "npm-cli.js");
  if (cli !== undefined && (await exists(cli))) return { node: process.execPath, cli };
  throw new Error("npm was not found on PATH; install Node.js together with npm");
}

/**
 * npm in the version this kit pins, under the bundled Node.js. Which optional packages npm installs depends on the
 * Node.js it runs on (npm 11 under Node.js 20 silently leaves one of OpenClaw's out), so the machine's are not used.
 */
export async function pinnedNpm(node: string, options: BuildOptions = {}): Promise<Npm> {
  const locked = await lockedPackages("npm");
  const folder = join(options.cache ?? cacheFolder(), "npm", digestOf([locked.digest]));
  await buildOnce(
    folder,
    async (temporary) => {
      options.progress?.("fetching npm");
      const work = join(temporary, "work");
      await install(locked, work, await npmOfMachine(), targetOf("x64"));
      await rename(join(work, "node_modules", "npm"), join(temporary, "npm"));
      await rm(work, { recursive: true });
    },
    options.progress,
  );
  return { node, cli: join(folder, "npm", "bin", "npm-cli.js") };
}

// Said in full, so that no npmrc of the operator decides what is installed; where from and by which proxy stays theirs.
const FLAGS = [
  "ci",
  "--ignore-scripts",
  "--omit=dev",
  "--include=prod",
  "--include=optional",
  "--include=peer",
  "--install-strategy=hoisted",
  "--bin-links=true",
  "--workspaces=false",
  "--global=false",
  "--package-lock=true",
  "--no-legacy-peer-deps",
  "--prefer-offline",
  "--no-audit",
  "--no-fund",
  "--no-update-notifier",
  "--no-progress",
  "--loglevel=error",
];

/**
 * Installs locked packages for a platform, which need not be this machine's, into `into` (made new), no package's script being run.
 * @throws with npm's words, or naming a package of the lock file that npm has left out
 */
export async function install(locked: LockedPackages, into: string, npm: Npm, target: Target): Promise<void> {
  await mkdir(into);
  await writeFile(join(into, "package.json"), locked.packageJson);
  await writeFile(join(into, "package-lock.json"), locked.lockFile);
  const real = await realpath(into); // reached through a link, npm finds the lock file out of date
  const platform = [`--os=${target.os}`, `--cpu=${target.cpu}`, `--libc=${target.libc}`];
  await run(npm.node, [npm.cli, ...FLAGS, ...platform, `--prefix=${real}`], real, environment()).catch(
    (error: Error) => {
      throw new Error(
        `installing what ${locked.folder} locks failed; see that npm reaches its registry and run again: ${error.message}`,
      );
    },
  );
  for (const at of expectedPackages(locked, target)) {
    const text = await readFile(join(into, at, "package.json"), "utf8").catch(() => undefined);
    const version = text === undefined ? undefined : (JSON.parse(text) as { version?: string }).version;
    const wanted = locked.packages.get(at)?.version;
    if (version !== wanted)
      throw new Error(
        `npm left "${at}" ${version === undefined ? "out" : `at ${version}`}, where ${locked.folder} ` +
          `has ${wanted}; run again, and report it if it stays`,
      );
  }
}

/** What npm is given: the caller's environment, but nothing that an enclosing `npm run` or a loader has put there. */
function environment(): NodeJS.ProcessEnv {
  const foreign =
    /^(NODE_OPTIONS|NODE_ENV|npm_(lifecycle|package|command|execpath|node_execpath).*|npm_config_.*prefix)$/i;
  return Object.fromEntries(Object.entries(process.env).filter(([key]) => !foreign.test(key)));
}

/**
 * Runs a program to its end.
 * @throws with the first lines it wrote when it does not exit with 0
 */
export async function run(file: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv): Promise<void> {
  const child = spawn(file, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  let words = "";
  const keep = (chunk: string) => {
    words = (words + chunk).slice(0, 8000);
  };
  child.stdout.setEncoding("utf8").on("data", keep);
  child.stderr.setEncoding("utf8").on("data", keep);
  const code = await new Promise<number | NodeJS.Signals | null>((done, fail) => {
    child.on("error", fail);
    child.on("close", (exit, signal) => done(exit ?? signal));
  });
  if (code === 0) return;
  const said = words.trim().split("\n").slice(0, 15).join("\n");
  throw new Error(`"${file} ${args.slice(0, 2).join(" ")}" failed (${code}):\n${said}`);
}
