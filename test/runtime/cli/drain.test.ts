import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { sampleSpec } from "../release/render/sample.ts";

// What Terraform runs before a cloud takes a machine away; on real hosts in test/integration/hetzner.test.ts.
describe("bailiwick machine drain", () => {
  let folder = "";
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "drain-"));
    writeFileSync(join(folder, "cdktf.json"), "{}");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  function drain(spec: object, env: Record<string, string>) {
    writeFileSync(join(folder, "spec.json"), JSON.stringify(spec));
    const machine = { kind: "remote", address: "127.0.0.1", instance: "1" };
    const bindings = { machine, bootstrap: { publicKey: "ssh-ed25519 AAAA", claimedBy: "1" }, values: {} };
    const words = ["machine", "drain", "ops", "--spec", "spec.json", "--from-terraform", "--generation", "now"];
    return spawnSync(process.execPath, [resolve("bin/bailiwick.mjs"), ...words], {
      ...{ cwd: folder, encoding: "utf8" },
      env: { PATH: process.env.PATH, BAILIWICK_BINDINGS: JSON.stringify(bindings), ...env },
    });
  }
  const withBinding = () => {
    const spec = structuredClone(sampleSpec()) as unknown as { access: { admins: Record<string, object> } };
    for (const admin of Object.values(spec.access.admins)) Object.assign(admin, { publicKey: { $binding: "newer" } });
    return spec;
  };

  it("keeps nobody from destroying a machine of which the code knows more than was deployed", () => {
    const ran = drain(withBinding(), { BAILIWICK_GENERATION: "now" });
    expect(ran.stderr + ran.stdout).toMatch(/taken off as by a power cut: .*binding "newer" has no value/);
    expect(ran.status).toBe(0);
  });

  it("ends the deploy where the code makes another machine and a secret is not at hand", () => {
    const ran = drain(sampleSpec(), { BAILIWICK_GENERATION: "then" });
    expect(ran.stderr).toMatch(/the machine of "\w+" is to be replaced/);
    expect(ran.status).toBe(1);
  });

  it("is no command for people", () => {
    const ran = spawnSync(process.execPath, [resolve("bin/bailiwick.mjs"), "machine", "drain", "ops"], {
      encoding: "utf8",
    });
    expect([ran.status, ran.stderr]).toEqual([2, expect.stringContaining("which are what to call")]);
  });
});
