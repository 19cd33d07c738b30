import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import * as baseline from "../../cloud-init/baseline.ts";
import {
  BASELINE_PACKAGES,
  baselineDigest,
  renderBaseline,
  renderUserData,
  USER_DATA_LIMIT,
} from "../../cloud-init/baseline.ts";
import { applyScript, has, hostFile, hostFiles, INPUT, sshdSettings } from "./host-files.ts";

const folder = mkdtempSync(join(tmpdir(), "bailiwick-baseline-"));
afterAll(() => rmSync(folder, { recursive: true }));

const text = renderUserData(INPUT);

function written(name: string, content: string): string {
  const file = join(folder, name);
  writeFileSync(file, content);
  return file;
}

describe("user data", () => {
  it("is cloud-config that cloud-init itself accepts", () => {
    expect(text).toMatch(/^#cloud-config\n/);
    if (!has("cloud-init")) return console.log("not run: cloud-init schema, since cloud-init is not installed");
    const schema = (config: string) =>
      spawnSync("cloud-init", ["schema", "--config-file", written("config", config)], { encoding: "utf8" });
    expect(schema(text)).toMatchObject({ status: 0, stdout: expect.stringContaining("Valid") });
    expect(schema(text.replace("uid: 1000", "uid: [1]")).status).not.toBe(0);
  });

  it.each(["debian-13", "ubuntu-24.04"] as const)("fits with the longest names and key that are taken: %s", (os) => {
    const publicKey = `sk-ssh-ed25519@openssh.com ${"A".repeat(108)} ${"c".repeat(64)}`;
    const longest = { ...INPUT, os, host: "h".repeat(20), admin: { name: "a".repeat(20), uid: 19_999, publicKey } };
    expect(Buffer.byteLength(renderUserData(longest))).toBeLessThanOrEqual(USER_DATA_LIMIT);
    const endless = { ...INPUT, admin: { ...INPUT.admin, publicKey: `ssh-ed25519 ${"A".repeat(12_000)}` } };
    expect(() => renderUserData(endless)).toThrow(/user data has \d+ bytes; at most 12288 are taken/);
  });

  it("has nothing that Terraform would interpolate", () => {
    expect(text).not.toMatch(/[$%]\{/);
  });

  it("has each key placeholder once, in double quotes", () => {
    const { HOST_KEY_PRIVATE_PLACEHOLDER, HOST_KEY_PUBLIC_PLACEHOLDER, ADMIN_KEY_PLACEHOLDER } = baseline;
    for (const placeholder of [HOST_KEY_PRIVATE_PLACEHOLDER, HOST_KEY_PUBLIC_PLACEHOLDER, ADMIN_KEY_PLACEHOLDER])
      expect(text.split(`"${placeholder}"`)).toHaveLength(2);
    const pem = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
    const filled = text.replace(HOST_KEY_PRIVATE_PLACEHOLDER, pem.replaceAll("\n", "\\n"));
    const line = filled.split("\n").find((l) => l.includes("ed25519_private")) ?? "";
    expect(JSON.parse(line.slice(line.indexOf('"')))).toBe(pem);
  });

  it("names no principal, no grant and no address but those of every host", () => {
    expect(text).not.toMatch(/bw-(?!data)|agent_|model_|openclaw|anthropic|openai|virtual-key/i);
    const addresses = text.match(/\b\d+\.\d+\.\d+\.\d+(?:\/\d+)?/g);
    expect(new Set(addresses)).toEqual(new Set(["169.254.169.254", "127.0.0.0/8"]));
    const uids = text.match(/\b2\d{4}\b/g);
    expect(new Set(uids)).toEqual(new Set(["20000", "20001", "29999"]));
  });

  it.each([
    [{ host: "Bad Host" }, "host received"],
    [{ host: 'x"\nruncmd: [reboot]' }, "host received"],
    [{ os: "debian-11" }, 'os received "debian-11"; it takes one of debian-12, debian-13, ubuntu-24.04'],
    [{ os: "toString" }, "os received"],
    [{ admin: { ...INPUT.admin, name: "root;id" } }, "admin.name received"],
    [{ admin: { ...INPUT.admin, uid: 20_000 } }, "admin.uid received 20000; it takes an integer from 1000 to 19999"],
    [{ admin: { ...INPUT.admin, uid: 0 } }, "admin.uid received"],
    [{ admin: { ...INPUT.admin, publicKey: "-----BEGIN OPENSSH PRIVATE KEY-----" } }, "admin.publicKey received"],
    [{ admin: { ...INPUT.admin, publicKey: 'command="x" ssh-ed25519 AAAA' } }, "admin.publicKey received"],
  ])("refuses %o", (change, problem) => {
    expect(() => renderUserData({ ...INPUT, ...(change as object) })).toThrow(problem);
  });
});

describe("baseline digest", () => {
  it("does not depend on the host's name, and stands in the user data", () => {
    const digest = baselineDigest(INPUT);
    expect(digest).toMatch(/^[0-9a-f]{64}$/);
    expect(text).toContain(`digest=${digest}\n`);
    expect(text).toContain('hostname: "local"\n');
    expect(renderUserData({ ...INPUT, host: "other" })).toBe(text.replace('hostname: "local"', 'hostname: "other"'));
  });

  it("changes with the admin", () => {
    const of = (change: object) => baselineDigest({ ...INPUT, admin: { ...INPUT.admin, ...change } });
    const publicKey = `ssh-ed25519 ${"A".repeat(68)}`;
    expect(new Set([of({}), of({ name: "bob" }), of({ uid: 1001 }), of({ publicKey })]).size).toBe(4);
  });
});

describe("the baseline without cloud-init", () => {
  it("is what the user data carries, file by file, under the same digest", () => {
    const { digest, files } = renderBaseline(INPUT);
    expect(digest).toBe(baselineDigest(INPUT));
    const [apply, sshd, ...rest] = files;
    expect(apply).toEqual({ path: "/usr/lib/bailiwick/apply", content: applyScript() });
    expect(sshd).toEqual({ path: "/etc/ssh/sshd_config.d/10-bailiwick.conf", content: sshdSettings() });
    const carried = [...hostFiles()].map(([path, content]) => ({
      path: path.replace(/^\.\//, "/usr/lib/bailiwick/"),
      content,
    }));
    expect(rest).toEqual(carried);
  });
});

describe("apply script", () => {
  it("puts every file in place as it is in the user data", () => {
    const inside = join(folder, "usr");
    mkdirSync(inside);
    const step = /^files\(\) \{\n([\s\S]*?)\n\}/m.exec(applyScript())?.[1] ?? "";
    const unpack = step.split("\n").find((line) => line.startsWith("awk ")) ?? "";
    const moved = applyScript().replaceAll(/^@(.*)$/gm, (_, path: string) => `@./${path.replaceAll("/", "_")}`);
    execFileSync("sh", ["-c", unpack, written("apply", moved)], { cwd: inside });
    expect(hostFiles().size).toBe(16);
    for (const [path, content] of hostFiles())
      expect(readFileSync(join(inside, path.replaceAll("/", "_")), "utf8")).toBe(content);
  });

  it("is the same in runcmd and at /usr/lib/bailiwick/apply", () => {
    if (spawnSync("/usr/bin/python3", ["-c", "import yaml"]).status !== 0)
      return console.log("not run: reading the YAML, since /usr/bin/python3 has no yaml (apt: python3-yaml)");
    const python = "import sys,json,yaml; print(json.dumps(yaml.safe_load(sys.stdin)))";
    const config = JSON.parse(execFileSync("/usr/bin/python3", ["-c", python], { input: text, encoding: "utf8" }));
    expect(config.runcmd).toEqual([applyScript()]);
    expect(config.write_files).toEqual([
      { path: "/usr/lib/bailiwick/apply", content: applyScript() },
      { path: "/etc/ssh/sshd_config.d/10-bailiwick.conf", permissions: "0600", content: sshdSettings() },
    ]);
    expect(config.users).toHaveLength(1);
  });

  it("installs the packages it names to the image builder", () => {
    expect(applyScript()).toContain(`set -- ${BASELINE_PACKAGES.join(" ")} \n`);
  });

  // the script itself, with its steps replaced: what it does when one of them fails
  const run = (steps: Record<string, string>) => {
    const marker = join(folder, "etc/bailiwick/baseline.json");
    let script = applyScript().replaceAll("/etc/bailiwick", join(folder, "etc/bailiwick"));
    for (const name of /^for s in (.*); do$/m.exec(script)?.[1]?.split(" ") ?? [])
      script = script.replace(
        new RegExp(`^${name}\\(\\) \\{\n[\\s\\S]*?^\\}\n`, "m"),
        `${name}() {\n${steps[name] ?? ":"}\n}\n`,
      );
    const { status } = spawnSync("sh", [written("apply-steps", script)], { encoding: "utf8" });
    return { status, marker: JSON.parse(readFileSync(marker, "utf8")) };
  };

  it("says done, with the digest", () => {
    const done = { digest: baselineDigest(INPUT), status: "done", step: "", message: "" };
    expect(run({})).toEqual({ status: 0, marker: done });
  });

  it("stops at the first step that fails and names it, with what it said", () => {
    const ran = join(folder, "ran");
    const failed = run({ kernel: `echo 'a "quoted"\\\\thing' >&2\nfalse\ntouch ${ran}`, mounts: `touch ${ran}` });
    expect(failed).toMatchObject({ status: 1, marker: { status: "failed", step: "kernel" } });
    expect(failed.marker.message).toMatch(/a {2}quoted {2,}thing.*\+ false/);
    expect(() => readFileSync(ran)).toThrow("ENOENT");
  });
});

describe("files of the baseline", () => {
  it("are programs that their interpreters can read", () => {
    const programs = [...hostFiles(), ["apply", applyScript().replace(/\nexit\n[\s\S]*/, "\n")] as const].filter(
      ([, body]) => body.startsWith("#!"),
    );
    expect(programs.map(([name]) => name)).toHaveLength(6);
    for (const [name, body] of programs) {
      const file = written("program", body);
      chmodSync(file, 0o755);
      const [command, ...args] = body.startsWith("#!/bin/sh") ? ["sh", "-n"] : ["python3", "-m", "py_compile"];
      expect(spawnSync(command, [...args, file], { encoding: "utf8" }), name).toMatchObject({ status: 0, stderr: "" });
    }
  });

  it("are units that systemd reads without a complaint", () => {
    if (!has("systemd-analyze")) return console.log("not run: systemd-analyze verify, since it is not installed");
    const units = [...hostFiles()].filter(([path]) => path.startsWith("/etc/systemd/system/"));
    const files = units.map(([path, body]) =>
      // the programs are not on this machine
      written(path.split("/").at(-1) ?? "", body.replaceAll(/\/usr\/lib\/bailiwick\/\S+/g, "/bin/true")),
    );
    expect(files).toHaveLength(5);
    const { stderr } = spawnSync("systemd-analyze", ["verify", "--man=no", ...files], { encoding: "utf8" });
    expect(stderr.split("\n").filter((line) => /bailiwick/.test(line))).toEqual([]);
    const bad = spawnSync("systemd-analyze", ["verify", written("bailiwick-bad.service", "[Service]\nType=odd\n")], {
      encoding: "utf8",
    });
    expect(bad.stderr).toContain("bailiwick-bad");
  });

  it("have sshd settings that sshd takes, and that say what they should", () => {
    if (!has("/usr/sbin/sshd")) return console.log("not run: sshd -T, since openssh-server is not installed");
    const key = join(folder, "key");
    execFileSync("ssh-keygen", ["-qt", "ed25519", "-N", "", "-f", key]);
    // names that an older sshd does not know make it refuse the file, so they are taken out for this machine's
    const known = execFileSync("ssh", ["-Q", "kex"], { encoding: "utf8" }).split("\n");
    const settings = sshdSettings()
      .replace(/^HostKey .*/m, `HostKey ${key}`)
      .replace(
        /^KexAlgorithms (.*)/m,
        (_, all: string) =>
          `KexAlgorithms ${all
            .split(",")
            .filter((name) => known.includes(name))
            .join(",")}`,
      );
    const { stdout, stderr } = spawnSync("/usr/sbin/sshd", ["-T", "-f", written("sshd_config", settings)], {
      encoding: "utf8",
    });
    expect(stderr).toBe("");
    const effective = new Set(stdout.split("\n"));
    for (const line of [
      "permitrootlogin no",
      "passwordauthentication no",
      "authenticationmethods publickey",
      "allowgroups bailiwick-admins",
      "disableforwarding yes",
      "maxsessions 10",
      "authorizedkeysfile .ssh/authorized_keys /etc/ssh/authorized_keys.d/%u",
      "banner /etc/ssh/bailiwick-attestation",
    ])
      expect(effective).toContain(line);
    expect(sshdSettings()).toMatch(/^KexAlgorithms \S+,curve25519-sha256$/m);
  });

  it("give sudo a rule that visudo takes", () => {
    if (!has("visudo")) return console.log("not run: visudo -c, since sudo is not installed");
    const file = written("sudoers", hostFile("/etc/sudoers.d/bailiwick"));
    chmodSync(file, 0o440);
    expect(spawnSync("visudo", ["-cf", file]).status).toBe(0);
  });

  it("give apt a configuration that it takes, of the security archive alone", () => {
    if (!has("apt-config")) return console.log("not run: apt-config, since apt is not installed");
    const file = written("apt.conf", hostFile("/etc/apt/apt.conf.d/60bailiwick"));
    const env = { ...process.env, APT_CONFIG: file };
    const dump = execFileSync("apt-config", ["dump"], { env, encoding: "utf8" });
    const origins = dump.split("\n").filter((line) => line.startsWith("Unattended-Upgrade::Origins-Pattern::"));
    expect(origins).toEqual([
      'Unattended-Upgrade::Origins-Pattern:: "origin=Debian,codename=trixie-security,label=Debian-Security";',
    ]);
  });
});
