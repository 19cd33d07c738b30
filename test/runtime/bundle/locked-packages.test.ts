import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  expectedPackages,
  foreignLockedPackages,
  lockedPackages,
  targetOf,
} from "../../../runtime/bundle/locked-packages.ts";
import { install, npmOfMachine } from "../../../runtime/bundle/npm.ts";
import { sha256 } from "../../../runtime/spec/digest.ts";
import { scratch, write } from "./scratch.ts";

const versions = readdirSync("runtime/bundle/openclaw");
const names = ["node", "node-arm64", "npm", ...versions.map((version) => `openclaw/${version}`)];

describe("the lock files of this kit", () => {
  it.each(names)("%s: every package by hash, exact versions asked for, no registry named", async (name) => {
    const locked = await lockedPackages(name);
    expect(locked.packages.size).toBeGreaterThan(0);
    for (const [at, found] of locked.packages)
      if (found.inBundle !== true) expect(found.integrity, at).toMatch(/^sha512-[A-Za-z0-9+/]{86}==$/);
    // npm takes a package for another platform than its own only as an optional one
    const { dependencies = {}, optionalDependencies = {} } = JSON.parse(locked.packageJson);
    for (const wanted of Object.values({ ...dependencies, ...optionalDependencies }))
      expect(wanted).toMatch(/^\d+\.\d+\.\d+$/);
    expect(locked.lockFile).not.toMatch(/"resolved"|"git[+:]|"file:|\.tgz"/);
    const hosts = [...locked.lockFile.matchAll(/https?:\/\/([^/"]+)/g)].map(([, host]) => host ?? "");
    expect(hosts.filter((host) => /npm|registr|mirror|artifact|verdaccio|yarn|nexus|localhost|\d$/.test(host))).toEqual(
      [],
    );
  });

  it("leaves out what is for other platforms, and only that", async () => {
    const locked = await lockedPackages(`openclaw/${versions[0]}`);
    const expected = expectedPackages(locked, targetOf("x64"));
    expect(expected).toContain("node_modules/@openclaw/fs-safe-linux-x64-gnu");
    expect(expected).toContain("node_modules/openclaw");
    expect(expected.filter((at) => /darwin|win32|arm64|musl|android|freebsd/.test(at))).toEqual([]);
    const arm = expectedPackages(locked, targetOf("arm64"));
    expect(arm).toContain("node_modules/@openclaw/fs-safe-linux-arm64-gnu");
    expect(arm.filter((at) => /darwin|win32|x64|musl|android|freebsd/.test(at))).toEqual([]);
  });
});

describe("a lock file", () => {
  const files = (found: object) => ({
    "package.json": JSON.stringify({ name: "x", version: "0.0.0", dependencies: { a: "1.0.0" } }),
    "package-lock.json": JSON.stringify({
      lockfileVersion: 3,
      packages: {
        "": { version: "0.0.0", dependencies: { a: "1.0.0" } },
        "node_modules/a": { version: "1.0.0", ...found },
      },
    }),
  });

  it.each([
    [{}, '"node_modules/a" has no integrity'],
    [{ integrity: "sha512-x", resolved: "https://example.com/a.tgz" }, '"node_modules/a" names its registry'],
  ])("with %o is refused", async (found, message) => {
    const folder = scratch();
    write(folder, files(found));
    await expect(lockedPackages(folder)).rejects.toThrow(message);
  });

  it("of a team may name its registry, which decides nothing, and must be the one of the spec", async () => {
    const folder = scratch();
    const at = (host: string) => files({ integrity: "sha512-x", resolved: `https://${host}/a.tgz` });
    write(folder, at("one.example.com"));
    const one = await foreignLockedPackages(folder, sha256(at("one.example.com")["package-lock.json"]));
    expect(one.lockFile).not.toContain("example.com");
    const stale = foreignLockedPackages(folder, "0".repeat(64));
    await expect(stale).rejects.toThrow("has changed since synth");
    write(folder, at("two.example.com"));
    const two = await foreignLockedPackages(folder, sha256(at("two.example.com")["package-lock.json"]));
    expect(two.digest).toBe(one.digest);
    const fromGit = files({ resolved: "git+ssh://git@example.com/a.git#0123" });
    write(folder, fromGit);
    await expect(foreignLockedPackages(folder, sha256(fromGit["package-lock.json"]))).rejects.toThrow(
      '"node_modules/a" has no integrity',
    );
  });

  it("whose hash is not the package's installs nothing", async () => {
    const real = await lockedPackages("node");
    const folder = scratch();
    write(folder, {
      "package.json": real.packageJson,
      "package-lock.json": real.lockFile.replace(/sha512-.{8}/, "sha512-AAAAAAAA"),
    });
    const tampered = await lockedPackages(folder);
    expect(tampered.digest).not.toBe(real.digest);
    const into = join(folder, "into");
    await expect(install(tampered, into, await npmOfMachine(), targetOf("x64"))).rejects.toThrow(/EINTEGRITY/);
    expect(readdirSync(into)).not.toContain("node_modules");
  });
});
