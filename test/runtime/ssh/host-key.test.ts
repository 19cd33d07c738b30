import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

// every line at the margin, where it can be cut
const source = readFileSync("runtime/ssh/host-key.sh", "utf8").replace(/^ +/gm, "");

let root: string;
const at = (path: string) => join(root, path);
const read = (path: string) => readFileSync(at(path), "utf8");
const KEY = "etc/ssh/ssh_host_ed25519_key";

// the program itself, its absolute paths moved below a folder of ours; systemctl, sshd and cloud-init record that they were asked
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "bailiwick-host-key-"));
  for (const folder of [
    "bin",
    "etc/ssh",
    "etc/bailiwick",
    "etc/cloud",
    "var/lib/cloud/instances/i-1",
    "var/lib/cloud/seed/nocloud",
    "run/cloud-init",
  ])
    mkdirSync(at(folder), { recursive: true });
  for (const file of [
    "var/lib/cloud/instances/i-1/user-data.txt",
    "var/lib/cloud/seed/nocloud/user-data",
    "run/cloud-init/instance-data-sensitive.json",
  ])
    writeFileSync(at(file), "the bootstrap key");
  writeFileSync(at("run/cloud-init/result.json"), "{}");
  execFileSync("ssh-keygen", ["-qt", "ed25519", "-N", "", "-C", "", "-f", at(KEY)]);
  for (const type of ["rsa", "ecdsa"]) writeFileSync(at(`etc/ssh/ssh_host_${type}_key`), "old");
  for (const command of ["systemctl", "sshd", "cloud-init"]) {
    writeFileSync(at(`bin/${command}`), `#!/bin/sh\necho ${command} "$@" >>${at("asked")}\n`);
    chmodSync(at(`bin/${command}`), 0o755);
  }
});
afterEach(() => rmSync(root, { recursive: true }));

function hostKey(verb: string, stdin = "", program = source) {
  const moved = program.replaceAll(/\/(etc|var\/lib|run)\/(ssh|bailiwick|cloud-init|cloud)\b/g, (path) =>
    join(root, path),
  );
  writeFileSync(at("host-key"), moved);
  const env = { ...process.env, PATH: `${at("bin")}:${process.env.PATH}` };
  return spawnSync("sh", [at("host-key"), verb], { input: stdin, env, encoding: "utf8" });
}

const publicOf = (file: string) =>
  execFileSync("ssh-keygen", ["-yf", at(file)], { encoding: "utf8" })
    .trim()
    .split(" ")
    .slice(0, 2)
    .join(" ");
const attestation = (hostKey: string, time = "1") =>
  `${JSON.stringify({ admin: "ada", at: time, hostKey })}\n-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n`;

function expectClaimed(pending: string, banner: string) {
  expect(publicOf(KEY)).toBe(pending);
  expect(read(`${KEY}.pub`)).toBe(`${pending}\n`);
  expect(read("etc/ssh/bailiwick-attestation")).toBe(banner);
  expect(readdirSync(at("etc/ssh")).sort()).toEqual([
    "bailiwick-attestation",
    "ssh_host_ed25519_key",
    "ssh_host_ed25519_key.pub",
  ]);
  expect(existsSync(at("etc/bailiwick/claimed"))).toBe(true);
  expect(existsSync(at("etc/cloud/cloud-init.disabled"))).toBe(true);
  for (const folder of ["var/lib/cloud/instances", "var/lib/cloud/seed", "run/cloud-init"])
    expect(existsSync(at(folder)), folder).toBe(false);
  expect(read("asked")).toMatch(/sshd -t\n(?:.*\n)*systemctl reload ssh\n$/);
}

describe("host-key", () => {
  it("install overwrites first boot's copies of the bootstrap key where they lie on the disk", () => {
    const copies = ["var/lib/cloud/instances/i-1/user-data.txt", "var/lib/cloud/seed/nocloud/user-data"];
    for (const [i, copy] of copies.entries()) linkSync(at(copy), at(`kept-${i}`));
    expect(hostKey("install", attestation(hostKey("new").stdout.trim())).status).toBe(0);
    for (const [i, copy] of copies.entries()) {
      expect(existsSync(at(copy))).toBe(false);
      expect(read(`kept-${i}`)).not.toContain("bootstrap");
    }
  });

  it("new makes a pending key, replacing an unfinished one, and prints its public line", () => {
    const first = hostKey("new").stdout;
    const second = hostKey("new").stdout;
    expect(second).toMatch(/^ssh-ed25519 \S+\n$/);
    expect(second).not.toBe(first);
    expect(`${publicOf("etc/ssh/bailiwick-next/key")}\n`).toBe(second);
  });

  it("install puts it in place, shows the attestation and leaves no copy of the bootstrap key", () => {
    const bootstrap = publicOf(KEY);
    const pending = hostKey("new").stdout.trim();
    expect(hostKey("install", attestation(pending))).toMatchObject({ status: 0 });
    expect(pending).not.toBe(bootstrap);
    expectClaimed(pending, attestation(pending));
  });

  it("install refuses without a pending key, also for the bootstrap key in use", () => {
    const bootstrap = publicOf(KEY);
    expect(hostKey("install", attestation(bootstrap))).toMatchObject({
      status: 1,
      stderr: "host-key: no pending key, run host-key new\n",
    });
    expect(existsSync(at("etc/bailiwick/claimed"))).toBe(false);
    expect(existsSync(at("etc/ssh/bailiwick-attestation"))).toBe(false);
  });

  it.each([
    ["an empty attestation", ""],
    ["one of another key", "ssh-ed25519 AAAAother"],
  ])("install refuses %s", (_, text) => {
    hostKey("new");
    const bootstrap = publicOf(KEY);
    const refused = hostKey("install", text);
    expect(refused).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("does not contain the public key of bailiwick-next/key"),
    });
    expect(publicOf(KEY)).toBe(bootstrap);
    expect(existsSync(at("etc/ssh/bailiwick-attestation"))).toBe(false);
  });

  it("install attests a claimed host's key anew, and no other", () => {
    const pending = hostKey("new").stdout.trim();
    hostKey("install", attestation(pending));
    expect(hostKey("install", attestation("ssh-ed25519 AAAAother")).status).toBe(1);
    expect(hostKey("install", attestation(pending, "2")).status).toBe(0);
    expectClaimed(pending, attestation(pending, "2"));
  });

  it("refuses other verbs", () => {
    for (const verb of ["", "remove", "new install"])
      expect(hostKey(verb)).toMatchObject({ status: 1, stderr: "host-key: new or install?\n" });
  });

  // a crash before each command of install: sshd must be able to start with what is there, and a second run must finish
  const start = source.indexOf("given=$(cat)");
  const crashes = [...source.matchAll(/(?:\n|; )(?=\S)/g)]
    .map((match) => match.index + match[0].length)
    .filter((index) => index > start && index < source.indexOf("*) fail new"))
    .filter((index) => !/^(?:;|\}|\*\)|\|\||esac|case)/.test(source.slice(index)))
    .filter((index) => !/^[^\n]*fail the attestation/.test(source.slice(source.lastIndexOf("\n", index) + 1)));

  it("has crash points to be tested at", () => expect(crashes.length).toBeGreaterThan(20));

  it.each(crashes.map((index) => [source.slice(index).split(/\n|; /)[0] ?? "", index] as const))(
    "survives a crash before `%s` (%i)",
    (_, index) => {
      const bootstrap = publicOf(KEY);
      const pending = hostKey("new").stdout.trim();
      const crashing = `${source.slice(0, index)}kill -9 $$; ${source.slice(index)}`;
      const crashed = hostKey("install", attestation(pending), crashing);
      if (crashed.signal !== "SIGKILL") expect(source.slice(0, index)).toMatch(/\{\n[^}]*$/); // inside a branch not taken

      const served = publicOf(KEY);
      expect([bootstrap, pending]).toContain(served);
      if (existsSync(at(`${KEY}.pub`))) expect(read(`${KEY}.pub`).trim()).toBe(served);
      if (served === pending) expect(read("etc/ssh/bailiwick-attestation")).toContain(pending);
      if (!existsSync(at("var/lib/cloud/instances")))
        expect(existsSync(at("etc/cloud/cloud-init.disabled"))).toBe(true);

      expect(hostKey("install", attestation(pending, "2"))).toMatchObject({ status: 0 });
      expectClaimed(pending, attestation(pending, "2"));
    },
  );
});
