import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Seed } from "../../constructs/index.ts";
import { aHost, anApp, synthesise, temporaryFolder } from "./synthesised.ts";

const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const home = process.cwd();
let project = "";
beforeEach(() => {
  project = temporaryFolder();
  process.chdir(project);
  mkdirSync("seed");
  writeFileSync("seed/README", "one");
});
afterEach(() => process.chdir(home));

describe("a workspace's seed", () => {
  it("stands in the spec as a folder of the project, or as a commit", () => {
    const host = aHost("ops");
    host.addWorkspace("docs", { seed: Seed.folder("seed") });
    host.addWorkspace("repo", {
      quotaMiB: 64,
      seed: Seed.git("https://git.example.com/team/repo", { commit: COMMIT }),
    });
    host.addWorkspace("empty");
    expect(host.toSpec().workspaces).toEqual({
      docs: { seed: { kind: "folder", source: "./seed" } },
      repo: { quotaMiB: 64, seed: { kind: "git", url: "https://git.example.com/team/repo", commit: COMMIT } },
      empty: {},
    });
  });

  it("makes another release when its folder changes", () => {
    const digest = () => {
      const app = anApp();
      aHost("ops", {}, app).addWorkspace("docs", { seed: Seed.folder("seed") });
      return /"components":\s*"([^"]+)"/.exec(synthesise(app, "stack-ops").terraform)?.[1];
    };
    const before = digest();
    expect(before).toMatch(/^[0-9a-f]{64}$/);
    expect(digest()).toBe(before);
    writeFileSync("seed/README", "two");
    expect(digest()).not.toBe(before);
  });

  it.each(["ssh://git@git.example.com/repo.git", "git@git.example.com:team/repo.git", "file:///srv/repo"])(
    "comes from %s",
    (url) => {
      expect(Seed.git(url, { commit: COMMIT }).spec).toEqual({ kind: "git", url, commit: COMMIT });
    },
  );

  const git =
    (url: unknown, commit: unknown = COMMIT) =>
    () =>
      Seed.git(url as string, { commit } as { commit: string });
  it.each<[string, () => unknown, string]>([
    ["a branch", git("https://git.example.com/r", "main"), 'Seed.git.commit: received "main"; must be the whole hash'],
    ["a short hash", git("https://git.example.com/r", "0123456"), "must be the whole hash of a commit"],
    ["no commit", () => Seed.git("https://git.example.com/r", {} as never), "Seed.git.commit"],
    ["a password", git("https://ada:geheim123@git.example.com/r"), "Seed.git: received a URL with a password in it"],
    [
      "a token",
      git("https://git.example.com/r?t=ghp_0123456789abcdefghij"),
      "Seed.git: received a value that starts with",
    ],
    ["plain http", git("http://git.example.com/r"), "must be https://"],
    ["a program", git("ext::sh -c id"), "must be https://"],
    ["an option of git", git("--upload-pack=id"), "must be https://"],
    ["an option of ssh", git("git@git.example.com:-oProxyCommand=id"), "must be https://"],
    ["a space", git("https://git.example.com/a b"), "must be https://"],
    ["an unknown key", () => Seed.git("https://a.example.com/r", { branch: "main" } as never), 'unknown key "branch"'],
    ["no folder", () => Seed.folder("nowhere"), 'Seed.folder: received "nowhere"; there is no folder'],
    ["the project", () => Seed.folder("."), "it contains the project"],
    ["the home directory", () => Seed.folder(process.env.HOME ?? "/root"), "the home directory"],
    ["a link to a file", () => Seed.folder("link"), "there is no folder"],
  ])("is refused: %s", (_, attempt, message) => {
    symlinkSync(join(project, "seed/README"), "link");
    expect(attempt).toThrow(message);
  });

  it("is refused as anything but a Seed", () => {
    expect(() => aHost("ops").addWorkspace("w", { seed: "seed" as never })).toThrow(
      'AgentHost "ops": addWorkspace("w").seed: received "seed"; give Seed.folder(…) or Seed.git(…)',
    );
  });
});
