import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hostPrincipals } from "../../../../runtime/policy/egress/principals.ts";
import { renderRelease } from "../../../../runtime/release/render/release.ts";
import { sampleInput, sampleSpec } from "./sample.ts";

// The files as the programs that read them on a host take them; what is not installed here says so.
const has = (program: string) => spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;
const isRoot = process.getuid?.() === 0;
const missing = {
  nft: has("nft") ? (isRoot ? undefined : "nft needs root for a network namespace") : "no nft on this machine",
  haproxy: has("haproxy") ? undefined : "no haproxy on this machine",
  systemd: has("systemd-analyze") ? undefined : "no systemd-analyze on this machine",
  sysusers: has("systemd-sysusers") ? undefined : "no systemd-sysusers on this machine",
};
for (const reason of Object.values(missing)) if (reason !== undefined) console.log(`not run: ${reason}`);

let root = "";
const UNITS = () =>
  readdirSync(join(root, "etc/systemd/system")).filter((name) => /^bailiwick-.*\.service$/.test(name));

/** A host's tree with the release's units in it, and empty programs where they call some. */
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "bailiwick-render-"));
  const write = (path: string, content: string, mode = 0o644) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content, { mode });
  };
  for (const { path, content } of renderRelease(sampleInput()).files) {
    write(`release/${path}`, content);
    if (!path.startsWith("units/")) continue;
    write(path.replace("units/", "etc/systemd/system/"), content);
    for (const [, program = ""] of content.matchAll(/^Exec(?:Start|StartPre|Reload)=\+?(\/\S+)/gm))
      write(program, "#!/bin/sh\n", 0o755);
  }
  write("etc/systemd/system/bailiwick-firewall.service", "[Service]\nExecStart=/bin/true\n");
  write("bin/true", "#!/bin/sh\n", 0o755);
  for (const target of ["multi-user", "basic", "sysinit", "shutdown", "network"])
    write(`etc/systemd/system/${target}.target`, "[Unit]\nDescription=stand-in\n");
  write("etc/systemd/system/-.mount", "");
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe("real tools", () => {
  it.skipIf(missing.nft !== undefined)("nft takes the firewall, twice in a row", () => {
    const file = join(root, "firewall.nft");
    const text = renderRelease(sampleInput()).files.find(({ path }) => path === "etc/firewall.nft")?.content ?? "";
    writeFileSync(file, text);
    const whole = spawnSync("unshare", ["--net", "nft", "--check", "--file", file], { encoding: "utf8" });
    if (whole.status !== 0 && whole.stderr.includes("owner,persist")) {
      console.log("not run: nft of this machine does not know `flags owner,persist`; the rest is checked without");
      writeFileSync(file, text.replaceAll(/flags owner,persist ?;?/g, ""));
    }
    execFileSync("unshare", ["--net", "sh", "-ec", 'nft --file "$0"; nft --file "$0"', file]);
    writeFileSync(file, text.replaceAll(/flags owner,persist ?;?/g, "").replace("jump agent_ops", "jump agent_nobody"));
    expect(() => execFileSync("unshare", ["--net", "nft", "--file", file], { stdio: "pipe" })).toThrow();
  });

  it.skipIf(missing.nft !== undefined)(
    "nft takes the firewall of an older system whole, and it stays within its ports",
    () => {
      const older = sampleSpec((spec) => {
        spec.os = "debian-12";
      });
      const file = join(root, "older.nft");
      const text =
        renderRelease(sampleInput(older)).files.find(({ path }) => path === "etc/firewall.nft")?.content ?? "";
      writeFileSync(file, text);
      const listed = execFileSync("unshare", [
        "--net",
        "sh",
        "-ec",
        'nft --file "$0"; nft --file "$0"; nft list ruleset',
        file,
      ]);
      const strays = [
        ...listed.toString().matchAll(/meta skuid (\d+) .*th sport 1-32767(?: th sport != (.*?))? counter/g),
      ];
      // each of the principals once, before any answer is let out
      expect(strays.map(([, uid]) => uid)).toEqual(hostPrincipals(older).map(({ uid }) => String(uid)));
      expect(strays.find(([, uid]) => uid === "20001")?.[2]).toBe("{ 4000, 4001 }");
      expect(listed.indexOf("th sport")).toBeLessThan(listed.indexOf("ct direction reply"));
      expect(text).not.toContain("persist");
    },
  );

  it.skipIf(missing.haproxy !== undefined)("haproxy takes its configuration", () => {
    const file = join(root, "release/etc/egress/haproxy.cfg");
    const result = spawnSync("haproxy", ["-c", "-f", file], { encoding: "utf8" });
    expect(result.stderr.replace(/^\[NOTICE\].*$/gm, "").trim()).toBe("");
    expect(result.status).toBe(0);
  });

  it.skipIf(missing.systemd !== undefined)("systemd has no complaint about any unit", () => {
    for (const unit of UNITS()) {
      const name = unit.replace("@.", "@one.");
      const result = spawnSync("systemd-analyze", ["verify", "--man=no", "--generators=no", `--root=${root}`, name], {
        encoding: "utf8",
      });
      expect(result.stderr.trim(), unit).toBe("");
      expect(result.status, unit).toBe(0);
    }
  });

  it.skipIf(missing.systemd !== undefined)("systemd rates every sandbox as tight", () => {
    const scores = UNITS()
      .filter((unit) => unit !== "bailiwick-firewall.service" && !unit.includes("@"))
      .map((unit) => {
        const args = ["security", "--offline=true", "--no-pager", `--root=${root}`, unit];
        const text = execFileSync("systemd-analyze", args, { encoding: "utf8" });
        return [unit, Number(/exposure level for \S+: ([\d.]+)/.exec(text)?.[1])] as const;
      });
    expect(scores).toHaveLength(5);
    for (const [unit, score] of scores) expect(score, unit).toBeLessThanOrEqual(1.5);
  });

  it.skipIf(missing.sysusers !== undefined)("systemd-sysusers makes each principal with its own uid and gid", () => {
    const users = join(root, "users");
    mkdirSync(join(users, "etc"), { recursive: true });
    execFileSync("systemd-sysusers", [`--root=${users}`, join(root, "release/etc/sysusers.conf")], { stdio: "pipe" });
    const passwd = execFileSync("cat", [join(users, "etc/passwd")], { encoding: "utf8" });
    expect(passwd).toContain("bw-gateway:x:20001:20001:Bailiwick gateway:/nonexistent:/usr/sbin/nologin\n");
    expect(passwd).toContain("bw-agent-ops:x:26167:26167:");
  });
});
