import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { folderComponent } from "../../../runtime/bundle/folder.ts";
import { gitSeedComponent } from "../../../runtime/bundle/git-seed.ts";
import { emptyCache, scratch, write } from "./scratch.ts";

/** A repository of one's own: a function that commits what is in it, and gives the commit. */
function repository() {
  const folder = join(scratch(), "repo");
  mkdirSync(folder);
  const git = (...args: string[]) =>
    execFileSync("git", ["-C", folder, "-c", "user.name=t", "-c", "user.email=t@example.com", ...args], {
      encoding: "utf8",
      env: { PATH: process.env.PATH, GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_NOSYSTEM: "1" },
    }).trim();
  git("init", "--quiet");
  const commit = (files: Record<string, string> = {}) => {
    write(folder, files);
    git("add", "--all");
    git("commit", "--quiet", "--message", "x");
    return git("rev-parse", "HEAD");
  };
  return { folder, url: `file://${folder}`, git, commit };
}

describe("a commit as a seed", () => {
  it("is the files of that commit, also an older one, as a folder of them would be", async () => {
    const { url, commit, folder } = repository();
    const first = commit({ "a.txt": "one\n", "deep/b.txt": "two\n" });
    const cache = await emptyCache();
    const plain = join(scratch(), "plain");
    write(plain, { "a.txt": "one\n", "deep/b.txt": "two\n" });
    const same = await folderComponent(plain, { name: "seed-w", cache });
    commit({ "a.txt": "changed\n" });
    const seed = await gitSeedComponent({ url, commit: first }, { name: "seed-w", cache });
    expect(seed.digest).toBe(same.digest);
    expect(readdirSync(folder), "the repository itself is only read").toEqual([".git", "a.txt", "deep"]);
  });

  it("is fetched once: the same commit is taken from the cache, with nobody to ask", async () => {
    const { url, commit } = repository();
    const cache = await emptyCache();
    const hash = commit({ "a.txt": "one\n" });
    const told: string[] = [];
    const options = { name: "seed-w", cache, progress: (line: string) => void told.push(line) };
    const first = await gitSeedComponent({ url, commit: hash }, options);
    expect(told[0]).toBe(`fetching ${hash.slice(0, 12)} of ${url}`);
    expect(await gitSeedComponent({ url: "file:///nowhere", commit: hash }, options)).toEqual(first);
  });

  it("is what was committed, whatever the git of this machine would make of it", async () => {
    const { url, commit } = repository();
    const hash = commit({ "a.txt": "one\n", ".gitattributes": "*.txt filter=shout\n" });
    const home = scratch();
    writeFileSync(join(home, ".gitconfig"), '[filter "shout"]\n\tsmudge = tr a-z A-Z\n[core]\n\tautocrlf = true\n');
    const plain = join(scratch(), "plain");
    write(plain, { "a.txt": "one\n", ".gitattributes": "*.txt filter=shout\n" });
    const cache = await emptyCache();
    const kept = process.env.HOME;
    process.env.HOME = home;
    try {
      // the control: this git would
      const clone = join(scratch(), "clone");
      execFileSync("git", ["clone", "--quiet", url, clone]);
      expect(readFileSync(join(clone, "a.txt"), "utf8")).toBe("ONE\r\n");
      const seed = await gitSeedComponent({ url, commit: hash }, { name: "seed-w", cache });
      expect(seed.digest).toBe((await folderComponent(plain, { name: "seed-w", cache })).digest);
    } finally {
      process.env.HOME = kept;
    }
  });

  it("is refused with a link that leads outside, and with a submodule", async () => {
    const { url, commit, folder, git } = repository();
    commit({ "a.txt": "one\n" });
    symlinkSync("../../etc/passwd", join(folder, "out"));
    const options = { name: "seed-w", cache: await emptyCache() };
    await expect(gitSeedComponent({ url, commit: commit() }, options)).rejects.toThrow(
      /link "out" in ".*" points at "\.\.\/\.\.\/etc\/passwd", outside the folder/,
    );
    git("rm", "--quiet", "out");
    git("update-index", "--add", "--cacheinfo", `160000,${"1".repeat(40)},module`);
    git("commit", "--quiet", "--message", "module");
    await expect(gitSeedComponent({ url, commit: git("rev-parse", "HEAD") }, options)).rejects.toThrow(
      '"module" of commit',
    );
  });

  it("fails by name: a commit that is not there, a repository that is not, a protocol that runs programs", async () => {
    const { url, commit } = repository();
    commit({ "a.txt": "one\n" });
    const options = { name: "seed-w", cache: await emptyCache() };
    const missing = "0".repeat(39).concat("1");
    await expect(gitSeedComponent({ url, commit: missing }, options)).rejects.toThrow(
      `${url} has no commit ${missing}; push it there, or name another`,
    );
    await expect(gitSeedComponent({ url: "file:///nowhere", commit: missing }, options)).rejects.toThrow(
      "file:///nowhere could not be fetched: ",
    );
    const touched = join(scratch(), "touched");
    await expect(gitSeedComponent({ url: `ext::touch ${touched}`, commit: missing }, options)).rejects.toThrow(
      "transport 'ext' not allowed",
    );
  });
});
