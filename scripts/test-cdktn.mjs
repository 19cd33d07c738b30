// The constructs' tests with cdktf's maintained fork in its place, by npm's alias: in a copy of what git has, since exactly
// one of the two may be installed.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "./processes.mjs";

const FORK = "npm:cdktn@0.24.0";
// Of the fork's own command line there is another package, and what only checks the sources has checked them.
const LEFT_OUT = ["@biomejs/biome", "@cdktf/provider-generator", "cdktf-cli", "codemaker", "knip"];
const TESTS = [
  "test/constructs",
  "test/examples",
  "test/providers",
  "test/stacks/local.test.ts",
  "test/stacks/terraform.test.ts",
];

const folder = mkdtempSync(join(tmpdir(), "bailiwick-cdktn-"));
try {
  const archive = execFileSync("git", ["archive", "HEAD"], { maxBuffer: 1 << 30 });
  execFileSync("tar", ["-x", "-C", folder], { input: archive });
  const file = join(folder, "package.json");
  const manifest = JSON.parse(readFileSync(file, "utf8"));
  manifest.devDependencies.cdktf = FORK;
  for (const name of LEFT_OUT) delete manifest.devDependencies[name];
  writeFileSync(file, JSON.stringify({ ...manifest, peerDependencies: {}, overrides: {} }));
  rmSync(join(folder, "package-lock.json"));
  await run("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: folder });
  await run("npx", ["--no-install", "tsc", "--noEmit"], { cwd: folder });
  // what takes 10 s takes 35 on a machine with other work, and nobody waits for this
  const args = ["--no-install", "vitest", "run", "--project", "unit", "--testTimeout=120000", "--hookTimeout=120000"];
  await run("npx", [...args, ...TESTS], { cwd: folder });
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true });
}
