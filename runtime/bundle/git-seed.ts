import { execFile } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { digestOf } from "../spec/digest.ts";
import type { BuildOptions } from "./cache.ts";
import { type Component, component } from "./component.ts";
import { nodeBinary } from "./node.ts";

/** Only these ways to a repository: git's others run programs that a URL names. */
const PROTOCOLS = "https:ssh:file";

/**
 * The files of one commit as a component, without its history: fetched here, with the git and the keys of whoever pushes. What
 * is checked out is the commit's own, whatever this machine's git is set to.
 * @throws naming the repository: no git here, a commit that it does not have, submodules, or what no component may hold
 */
export async function gitSeedComponent(
  { url, commit }: { readonly url: string; readonly commit: string },
  options: BuildOptions & { readonly name: string },
): Promise<Component> {
  return component({
    ...options,
    inputs: digestOf(["git-seed", commit]),
    node: await nodeBinary(options),
    make: async (temporary) => {
      options.progress?.(`fetching ${commit.slice(0, 12)} of ${url}`);
      const [repository, folder] = [join(temporary, "repository"), join(temporary, "files")];
      await mkdir(folder);
      await git(url, ["init", "--quiet", "--bare", repository]);
      const here = ["-C", repository];
      const fetch = [...here, "fetch", "--quiet", "--no-tags"];
      // not every server gives a commit by its hash; all give their branches and tags
      await git(url, [...fetch, "--depth=1", "--", url, commit]).catch(() =>
        git(url, [...fetch, "--", url, "+refs/*:refs/seed/*"]),
      );
      await git(url, [...here, "cat-file", "-e", `${commit}^{commit}`]).catch(() => {
        throw new Error(`${url} has no commit ${commit}; push it there, or name another`);
      });
      const entries = await git(url, [...here, "ls-tree", "-r", commit]);
      const module = /^160000 commit \S+\t(.*)$/m.exec(entries)?.[1];
      if (module !== undefined)
        throw new Error(`${url}: "${module}" of commit ${commit.slice(0, 12)} is a submodule, which no seed has`);
      const alone = { GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_NOSYSTEM: "1", GIT_WORK_TREE: folder };
      await git(url, [...here, "read-tree", commit], alone, OWN_SETTINGS);
      await git(url, [...here, "checkout-index", "--all"], alone, OWN_SETTINGS);
      return { folder };
    },
  });
}

/** Variables that lead git to another repository, and besides those that set how it works. */
const OTHER_REPOSITORY =
  /^GIT_(DIR|COMMON_DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|NAMESPACE)$/;
const OWN_SETTINGS = /^GIT_/;

async function git(
  url: string,
  args: readonly string[],
  more: NodeJS.ProcessEnv = {},
  without = OTHER_REPOSITORY,
): Promise<string> {
  const own = Object.entries(process.env).filter(([key]) => !without.test(key));
  const env = { ...Object.fromEntries(own), GIT_ALLOW_PROTOCOL: PROTOCOLS, GIT_TERMINAL_PROMPT: "0", ...more };
  try {
    return (await promisify(execFile)("git", [...args], { env, maxBuffer: 64 * 1024 * 1024 })).stdout;
  } catch (error) {
    const { code, stderr = "" } = error as { code?: unknown; stderr?: string };
    if (code === "ENOENT") throw new Error(`git is not here, and ${url} is fetched by it; install git`);
    throw new Error(`${url} could not be fetched: ${stderr.trim().split("\n").slice(0, 5).join("\n")}`);
  }
}
