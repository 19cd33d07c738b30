import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { cacheFolder } from "../../../runtime/bundle/cache.ts";
import { scratch } from "./scratch.ts";

/** A copy of the module with no memory in common with another: what a second process has. */
async function anotherProcess(): Promise<typeof import("../../../runtime/bundle/cache.ts")> {
  vi.resetModules();
  return import("../../../runtime/bundle/cache.ts");
}

describe("the cache's folder", () => {
  it.each([
    [{ BAILIWICK_CACHE: "/a", XDG_CACHE_HOME: "/b" }, "/a"],
    [{ XDG_CACHE_HOME: "/b" }, "/b/bailiwick"],
    [{ XDG_CACHE_HOME: "relative" }, `${homedir()}/.cache/bailiwick`],
    [{ BAILIWICK_CACHE: "" }, `${homedir()}/.cache/bailiwick`],
  ])("for %o is %s", (env, folder) => {
    expect(cacheFolder(env)).toBe(folder);
  });
});

describe("building once", () => {
  const slowly = (text: string) => async (temporary: string) => {
    writeFileSync(join(temporary, "a"), text);
    await sleep(150);
    writeFileSync(join(temporary, "b"), text);
  };

  it("lets a second builder in the same process join the first", async () => {
    const { buildOnce } = await anotherProcess();
    const folder = join(scratch(), "cache", "thing");
    const second = vi.fn(slowly("2"));
    await Promise.all([buildOnce(folder, slowly("1")), buildOnce(folder, second)]);
    expect(second).not.toHaveBeenCalled();
    expect(readFileSync(join(folder, "b"), "utf8")).toBe("1");
  });

  it("lets another process wait for the first, saying so", async () => {
    const [one, two] = [await anotherProcess(), await anotherProcess()];
    const folder = join(scratch(), "cache", "thing");
    const told = vi.fn();
    const first = one.buildOnce(folder, async (temporary) => {
      await slowly("1")(temporary);
      await vi.waitUntil(() => told.mock.calls.length > 0, { timeout: 20_000 });
    });
    await vi.waitUntil(() => existsSync(join(folder, "..")) && readdirSync(join(folder, "..")).length > 0);
    const second = vi.fn(slowly("2"));
    await Promise.all([first, two.buildOnce(folder, second, told)]);
    expect(second).not.toHaveBeenCalled();
    expect(told.mock.calls).toEqual([["waiting for another process that is building thing"]]);
  });

  it("gives one whole result when two processes build all the same", async () => {
    const [one, two] = [await anotherProcess(), await anotherProcess()];
    const folder = join(scratch(), "cache", "thing");
    await Promise.all([one.buildOnce(folder, slowly("1")), two.buildOnce(folder, slowly("2"))]);
    const [a, b] = ["a", "b"].map((name) => readFileSync(join(folder, name), "utf8"));
    expect(a).toBe(b);
    expect(readdirSync(join(folder, ".."))).toEqual(["thing"]);
  });

  it("does not count what an interrupted builder left, does not wait for it, and removes it in time", async () => {
    const { buildOnce } = await anotherProcess();
    const cache = scratch();
    const left = (name: string, secondsAgo: number) => {
      mkdirSync(join(cache, name));
      writeFileSync(join(cache, name, "a"), "half");
      const then = Date.now() / 1000 - secondsAgo;
      utimesSync(join(cache, name), then, then);
    };
    left(".unfinished-thing-abc", 15);
    left(".unfinished-other-abc", 700);
    await buildOnce(join(cache, "thing"), slowly("1"));
    expect(readFileSync(join(cache, "thing", "a"), "utf8")).toBe("1");
    expect(readdirSync(cache).sort()).toEqual([".unfinished-thing-abc", "thing"]);
  });

  it("builds itself when the one it waits for gives up", async () => {
    const { buildOnce } = await anotherProcess();
    const cache = scratch();
    mkdirSync(join(cache, ".unfinished-thing-abc"));
    const build = vi.fn(slowly("1"));
    const built = buildOnce(join(cache, "thing"), build);
    await sleep(300);
    expect(build).not.toHaveBeenCalled();
    rmSync(join(cache, ".unfinished-thing-abc"), { recursive: true });
    await built;
    expect(build).toHaveBeenCalledOnce();
  });

  it("removes what a failed build made, and the next call builds", async () => {
    const { buildOnce } = await anotherProcess();
    const cache = scratch();
    const failing = async (temporary: string) => {
      writeFileSync(join(temporary, "a"), "half");
      throw new Error("no");
    };
    await expect(buildOnce(join(cache, "thing"), failing)).rejects.toThrow("no");
    expect(readdirSync(cache)).toEqual([]);
    await buildOnce(join(cache, "thing"), slowly("1"));
    expect(readdirSync(cache)).toEqual(["thing"]);
  });
});
