import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { digestOfImage, ensureImage, imageDigest } from "../../../runtime/local/image.ts";

const progress = () => undefined;

describe("image digest", () => {
  const inputs = { os: "debian-13", packages: ["haproxy", "acl"] } as const;
  const digest = digestOfImage(inputs, "recipe");

  it("is the same for the same packages in another order, named twice, or part of every image anyway", () => {
    const same = { os: "debian-13", packages: ["acl", "haproxy", "acl", "systemd"] } as const;
    expect(digestOfImage(same, "recipe")).toBe(digest);
    expect(digest).toMatch(/^[0-9a-f]{64}$/);
  });

  it("changes with a package and with the recipe", () => {
    expect(digestOfImage({ ...inputs, packages: ["haproxy"] }, "recipe")).not.toBe(digest);
    expect(digestOfImage(inputs, "another recipe")).not.toBe(digest);
  });

  it("is taken over the recipe that is run", async () => {
    const recipe = readFileSync("runtime/local/build-image.sh", "utf8");
    expect(await imageDigest(inputs)).toBe(digestOfImage(inputs, recipe));
  });

  it("refuses what is no package name, before anything is run", async () => {
    for (const name of ["Haproxy", "a b", "x;reboot", "--option", "a,b", ""])
      await expect(ensureImage({ os: "debian-13", packages: [name], progress })).rejects.toThrow(/no name of a Debian/);
  });
});

// A stand-in for mmdebstrap that makes a tiny tree, so that lock, rename and clean-up can be seen in a second; the real
// one is run by the integration test.
const STAND_IN = `#!/bin/bash
tree=\${@: -1}
echo "$$" >>"$BUILDS"
[ ! -e "$BUILDS.fail" ] || { echo "E: no such package" >&2; exit 100; }
mkdir -p "$tree"/etc/{apt,ssh,cloud/cloud.cfg.d} "$tree"/var/lib/{dpkg,dbus} "$tree/boot"
echo "a kernel" >"$tree/boot/vmlinuz-6.12-cloud"
echo "deb URL trixie-security main" >"$tree/etc/apt/sources.list"
[ ! -e "$BUILDS.stale" ] || echo "deb URL trixie main" >"$tree/etc/apt/sources.list"
: >"$tree/var/lib/dpkg/status"
echo key >"$tree/etc/ssh/ssh_host_ed25519_key"
echo aaaa >"$tree/etc/machine-id"
echo "nameserver 192.0.2.1" >"$tree/etc/resolv.conf"
sleep 0.5
`;

const tools = ["mke2fs", "debugfs", "dpkg-query", "flock"];
const lacking = tools.filter((tool) => spawnSync("which", [tool]).status !== 0);
if (lacking.length > 0) console.log(`not run: image builds need ${lacking.join(", ")}`);

describe.skipIf(lacking.length > 0)("image build", () => {
  const inputs = { os: "debian-13", packages: ["acl"], progress } as const;
  let directory = "";
  let saved: NodeJS.ProcessEnv;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "image-"));
    const standIn = STAND_IN.replaceAll("$BUILDS", join(directory, "builds"));
    writeFileSync(join(directory, "mmdebstrap"), standIn, { mode: 0o755 });
    saved = { ...process.env };
    process.env.BAILIWICK_CACHE = directory;
    process.env.PATH = `${directory}:${process.env.PATH}`;
  });
  afterEach(() => {
    process.env = saved;
    rmSync(directory, { recursive: true });
  });

  const builds = () => readFileSync(join(directory, "builds"), "utf8").trim().split("\n").length;
  const images = () => readdirSync(join(directory, "images")).filter((name) => name !== "lock");
  const inImage = (path: string, file: string) =>
    spawnSync("debugfs", ["-R", `cat ${file}`, path], { encoding: "utf8" }).stdout;

  it("is made once by two commands at once, and found by a third", async () => {
    const [first, second] = await Promise.all([ensureImage(inputs), ensureImage(inputs)]);
    expect(first).toEqual(second);
    expect(await ensureImage(inputs)).toEqual(first);
    expect(builds()).toBe(1);
    expect(images()).toEqual([first.digest]);
  });

  it("holds no host key, no machine id and no resolver of the machine that built it", async () => {
    const { path } = await ensureImage(inputs);
    expect(spawnSync("debugfs", ["-R", "ls /etc/ssh", path], { encoding: "utf8" }).stdout).not.toContain("ssh_host");
    expect(inImage(path, "/etc/machine-id")).toBe("");
    expect(inImage(path, "/etc/resolv.conf")).toBe("");
    expect(inImage(path, "/etc/cloud/cloud.cfg.d/90_bailiwick.cfg")).toContain("NoCloud");
  });

  it("has its kernel beside it, for a machine that boots one", async () => {
    const { path } = await ensureImage(inputs);
    expect(readFileSync(join(dirname(path), "vmlinuz"), "utf8")).toBe("a kernel\n");
  });

  it("leaves nothing when it fails, and says why", async () => {
    writeFileSync(join(directory, "builds.fail"), "");
    await expect(ensureImage(inputs)).rejects.toThrow(/E: no such package/);
    expect(images()).toEqual([]);
  });

  it("fails when the image could not be patched later", async () => {
    writeFileSync(join(directory, "builds.stale"), "");
    await expect(ensureImage(inputs)).rejects.toThrow(/trixie-security: it would never be patched/);
    expect(images()).toEqual([]);
  });

  it("that was killed counts as none, and the next one clears it away", async () => {
    const interrupted = ensureImage(inputs).catch((error: Error) => error.message);
    while (!existsSync(join(directory, "images")) || !images().some((name) => name.startsWith("building-")))
      await sleep(20);
    await sleep(200); // in the midst of mmdebstrap
    const builder = readFileSync(join(directory, "builds"), "utf8").trim();
    const parent = /^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${builder}/status`, "utf8"))?.[1];
    for (const pid of [parent, builder]) process.kill(Number(pid), "SIGKILL");
    expect(await interrupted).toMatch(/ended with/);
    expect(images()).toEqual([expect.stringMatching(/^building-/)]);
    const { digest } = await ensureImage(inputs);
    expect(images()).toEqual([digest]);
  });
});
