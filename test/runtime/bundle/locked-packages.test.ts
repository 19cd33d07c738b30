import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { expectedPackages, lockedPackages } from "../../../runtime/bundle/locked-packages.ts";
import { install, npmOfMachine } from "../../../runtime/bundle/npm.ts";
import { scratch, write } from "./scratch.ts";

const versions = readdirSync("runtime/bundle/openclaw");
const names = ["node", "npm", ...versions.map((version) => `openclaw/${version}`)];

describe("the lock files of this kit", () => {
  it.each(names)("%s: every package by hash, exact versions asked for, no registry named", async (name) => {
    const locked = await lockedPackages(name);
    expect(locked.packages.size).toBeGreaterThan(0);
    for (const [at, found] of locked.packages)
      if (found.inBundle !== true) expect(found.integrity, at).toMatch(/^sha512-[A-Za-z0-9+/]{86}==$/);
    const { dependencies } = JSON.parse(locked.packageJson);
    for (const wanted of Object.values(dependencies)) expect(wanted).toMatch(/^\d+\.\d+\.\d+$/);
    expect(locked.lockFile).not.toMatch(/"resolved"|"git[+:]|"file:|\.tgz"/);
    const hosts = [...locked.lockFile.matchAll(/https?:\/\/([^/"]+)/g)].map(([, host]) => host ?? "");
    expect(hosts.filter((host) => /npm|registr|mirror|artifact|verdaccio|yarn|nexus|localhost|\d$/.test(host))).toEqual(
      [],
    );
  });

  it("leaves out what is for other platforms, and only that", async () => {
    const expected = expectedPackages(await lockedPackages(`openclaw/${versions[0]}`));
    expect(expected).toContain("node_modules/@openclaw/fs-safe-linux-x64-gnu");
    expect(expected).toContain("node_modules/openclaw");
    expect(expected.filter((at) => /darwin|win32|arm64|musl|android|freebsd/.test(at))).toEqual([]);
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
    await expect(install(tampered, into, await npmOfMachine())).rejects.toThrow(/EINTEGRITY/);
    expect(readdirSync(into)).not.toContain("node_modules");
  });
});
