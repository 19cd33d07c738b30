import { execFileSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { folderComponent } from "../../../runtime/bundle/folder.ts";
import { nodeBinary } from "../../../runtime/bundle/node.ts";
import { pack } from "../../../runtime/bundle/pack.ts";
import { readTree } from "../../../runtime/bundle/tree.ts";
import { sha256 } from "../../../runtime/spec/digest.ts";
import { treeDigest } from "../../../runtime/spec/tree.ts";
import { emptyCache, scratch, write } from "./scratch.ts";

const LONG = `${"directory-of-a-long-name/".repeat(3)}${"x".repeat(120)}/${"y".repeat(200)}.txt`;

function sample(): string {
  const folder = join(scratch(), "daemon");
  write(folder, {
    "run.mjs": "console.log(1)\n",
    [LONG]: "long",
    [`${"p".repeat(90)}/${"q".repeat(90)}`]: "fits ustar's prefix",
    "näme with\nnewline": "",
    [`${"ü".repeat(60)}`]: "wide",
    "block.bin": "b".repeat(512),
    "big.bin": "0123456789abcdef".repeat(600_000),
  });
  chmodSync(join(folder, "run.mjs"), 0o755);
  mkdirSync(join(folder, "empty"));
  symlinkSync(LONG, join(folder, "link"));
  symlinkSync("run.mjs", join(folder, "start"));
  return folder;
}

describe("a folder as a component", () => {
  it("comes out of its archive as it went in, unpacked by the tools of a host", async () => {
    const folder = sample();
    const built = await folderComponent(folder, { cache: await emptyCache() });
    expect(built.name).toBe("daemon");
    const unpacked = scratch();
    execFileSync("tar", ["--zstd", "-xpf", built.archive.path, "-C", unpacked]);
    expect(treeDigest(await readTree(unpacked))).toBe(built.digest);
    expect(statSync(join(unpacked, "run.mjs")).mode & 0o7777).toBe(0o755);
    expect(statSync(join(unpacked, "block.bin")).mode & 0o7777).toBe(0o644);
    expect(statSync(join(unpacked, LONG)).mtime.toISOString()).toBe("2000-01-01T00:00:00.000Z");
    const listing = execFileSync("tar", ["--zstd", "--numeric-owner", "-tvf", built.archive.path], {
      encoding: "utf8",
    });
    expect(listing.split("\n").filter((line) => line !== "" && !line.includes(" 0/0 "))).toEqual([]);
  });

  it("has the same digest and the same archive from two folders and two caches", async () => {
    const one = sample();
    const two = join(scratch(), "copy");
    cpSync(one, two, { recursive: true, verbatimSymlinks: true });
    const options = { name: "x" };
    const [a, b] = [
      await folderComponent(one, { ...options, cache: await emptyCache() }),
      await folderComponent(two, { ...options, cache: await emptyCache() }),
    ];
    expect(b.digest).toBe(a.digest);
    expect(b.archive.path).not.toBe(a.archive.path);
    expect([b.archive.sha256, b.archive.bytes]).toEqual([a.archive.sha256, a.archive.bytes]);
    expect(sha256(readFileSync(b.archive.path))).toBe(b.archive.sha256);
  });

  it("is not built twice, and is another one after a changed byte", async () => {
    const folder = sample();
    const cache = await emptyCache();
    const told: string[] = [];
    const options = { cache, progress: (line: string) => void told.push(line) };
    const first = await folderComponent(folder, options);
    expect(told).toEqual(["packing daemon"]);
    expect(await folderComponent(folder, options)).toEqual(first);
    expect(told).toHaveLength(1);
    writeFileSync(join(folder, "run.mjs"), "console.log(2)\n");
    const second = await folderComponent(folder, options);
    expect(told).toHaveLength(2);
    expect(second.digest).not.toBe(first.digest);
  });

  it("is built anew when its archive in the cache is cut short or its record is broken", async () => {
    const folder = sample();
    const cache = await emptyCache();
    const first = await folderComponent(folder, { cache });
    truncateSync(first.archive.path, 10);
    expect(await folderComponent(folder, { cache })).toEqual(first);
    expect(statSync(first.archive.path).size).toBe(first.archive.bytes);
    writeFileSync(join(first.archive.path, "../component.json"), "{");
    expect(await folderComponent(folder, { cache })).toEqual(first);
  });

  it("is refused when a file changes between being listed and being packed", async () => {
    const folder = sample();
    const listed = await readTree(folder);
    writeFileSync(join(folder, "run.mjs"), "console.log(3)\n");
    const into = join(scratch(), "archive");
    await expect(pack(folder, listed, into, await nodeBinary())).rejects.toThrow(
      /run\.mjs" was changed while it was being packed/,
    );
  });

  it("leaves nothing behind a failed build", async () => {
    const cache = await emptyCache();
    const folder = sample();
    const broken = folderComponent(folder, {
      cache,
      progress: () => {
        throw new Error("the operator's terminal is gone");
      },
    });
    await expect(broken).rejects.toThrow("terminal is gone");
    expect(readdirSync(join(cache, "components"))).toEqual([]);
    expect((await folderComponent(folder, { cache })).name).toBe("daemon");
  });
});
