import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  renameSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { readTree } from "../../../runtime/bundle/tree.ts";
import { treeDigest } from "../../../runtime/spec/tree.ts";
import { scratch, write } from "./scratch.ts";

function sample(): string {
  const folder = join(scratch(), "sample");
  write(folder, { "bin/run": "#!/bin/sh\n", "lib/a.txt": "a", "lib/deep/b.txt": "b" });
  chmodSync(join(folder, "bin/run"), 0o755);
  mkdirSync(join(folder, "empty"));
  symlinkSync("../lib/a.txt", join(folder, "bin/a"));
  return folder;
}

const digestOf = async (folder: string) => treeDigest(await readTree(folder));

describe("digest of a tree", () => {
  it("lists files, links and directories, empty ones too, in byte order", async () => {
    const folder = scratch();
    write(folder, { "a-b": "", "a/c": "", B: "", é: "", 𐀀: "", "￮": "" });
    mkdirSync(join(folder, "empty"));
    symlinkSync("B", join(folder, "link"));
    expect((await readTree(folder)).map(({ path }) => path)).toEqual([
      "B",
      "a",
      "a-b",
      "a/c",
      "empty",
      "link",
      "é",
      "￮",
      "𐀀",
    ]);
  });

  it("is the same whatever the umask, times and owner, and the order files were made in", async () => {
    const one = sample();
    const two = join(scratch(), "elsewhere");
    mkdirSync(join(two, "lib/deep"), { recursive: true, mode: 0o700 });
    mkdirSync(join(two, "empty"), { mode: 0o700 });
    mkdirSync(join(two, "bin"), { mode: 0o700 });
    writeFileSync(join(two, "lib/deep/b.txt"), "b", { mode: 0o600 });
    writeFileSync(join(two, "lib/a.txt"), "a", { mode: 0o666 });
    writeFileSync(join(two, "bin/run"), "#!/bin/sh\n", { mode: 0o700 });
    symlinkSync("../lib/a.txt", join(two, "bin/a"));
    utimesSync(join(two, "lib/a.txt"), 1, 1);
    if (process.getuid?.() === 0) chownSync(join(two, "lib/a.txt"), 1234, 1234);
    else console.log("not run: another owner, which needs root");
    expect(await digestOf(two)).toBe(await digestOf(one));
  });

  it.each<[string, (folder: string) => void]>([
    ["a changed byte", (folder) => writeFileSync(join(folder, "lib/a.txt"), "A")],
    ["a file made executable", (folder) => chmodSync(join(folder, "lib/a.txt"), 0o755)],
    ["another name", (folder) => renameSync(join(folder, "lib/deep/b.txt"), join(folder, "lib/deep/c.txt"))],
    ["one more file", (folder) => writeFileSync(join(folder, "lib/c.txt"), "")],
    ["one more directory", (folder) => mkdirSync(join(folder, "empty/more"))],
    ["a link to something else", (folder) => execFileSync("ln", ["-sfn", "run", join(folder, "bin/a")])],
    ["a link in place of its file", (folder) => execFileSync("ln", ["-sf", "deep/b.txt", join(folder, "lib/a.txt")])],
  ])("changes with %s", async (_, change) => {
    const [before, after] = [sample(), sample()];
    expect(await digestOf(after)).toBe(await digestOf(before));
    change(after);
    expect(await digestOf(after)).not.toBe(await digestOf(before));
  });

  it("leaves out what is skipped, and directories that hold nothing else", async () => {
    const folder = sample();
    const paths = (await readTree(folder, { skip: (path) => path.endsWith(".txt") || path === "bin/a" })).map(
      ({ path }) => path,
    );
    expect(paths).toEqual(["bin", "bin/run", "empty"]);
    expect((await readTree(folder, { skip: (path) => path === "lib/" || path === "bin/a" })).length).toBe(3);
  });
});

describe("what cannot be packed is refused by name", () => {
  it.each([
    ["/etc/passwd", "outside the folder"],
    ["../../outside", "outside the folder"],
    ["..", "outside the folder"],
    ["nowhere", "where nothing is"],
    ["link", "where nothing is"],
  ])("a link to %s", async (target, why) => {
    const folder = sample();
    write(folder, { "../outside": "" });
    symlinkSync(target, join(folder, "link"));
    await expect(readTree(folder)).rejects.toThrow(`link "link" in "${folder}" points at "${target}", ${why}`);
  });

  it("a link that looks inside but leaves through another link", async () => {
    const folder = join(scratch(), "inner");
    write(folder, { "sub/deep/x": "", x: "", "../x": "" });
    symlinkSync("..", join(folder, "sub/up")); // the folder itself: allowed
    await readTree(folder);
    symlinkSync("up/../x", join(folder, "sub/sly")); // as written sub/x, as followed ../x
    await expect(readTree(folder)).rejects.toThrow(/link "sub\/sly" .* outside the folder/);
  });

  it("a named pipe and a socket", async () => {
    const piped = sample();
    execFileSync("mkfifo", [join(piped, "lib/pipe")]);
    await expect(readTree(piped)).rejects.toThrow(`"lib/pipe" in "${piped}" is a named pipe`);
    const socketed = sample();
    const server = createServer();
    await new Promise<void>((done) => server.listen(join(socketed, "s"), done));
    onTestFinished(() => void server.close());
    await expect(readTree(socketed)).rejects.toThrow(`"s" in "${socketed}" is a socket`);
  });

  it("a name that is not UTF-8", async () => {
    const folder = sample();
    writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0x66, 0xff])]), "");
    await expect(readTree(folder)).rejects.toThrow("not UTF-8");
  });

  it("more bytes than the limit, naming the largest file, before anything is read", async () => {
    const folder = sample();
    writeFileSync(join(folder, "lib/big"), "");
    truncateSync(join(folder, "lib/big"), 3 * 1024 ** 3); // sparse
    await expect(readTree(folder, { limit: 1024 ** 3 })).rejects.toThrow(/3073 MiB .* 1024 MiB .* "lib\/big"/);
  });

  it("a folder that does not exist, and a file", async () => {
    const folder = sample();
    await expect(readTree(join(folder, "no"))).rejects.toThrow(/folder ".*\/no" cannot be read \(ENOENT\)/);
    await expect(readTree(join(folder, "lib/a.txt"))).rejects.toThrow("is no folder");
  });

  it("but a copy of a good folder is not", async () => {
    const folder = sample();
    const copy = join(scratch(), "copy");
    cpSync(folder, copy, { recursive: true, verbatimSymlinks: true });
    expect(await digestOf(copy)).toBe(await digestOf(folder));
  });
});
