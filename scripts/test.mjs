// The one test command: sets itself up, runs everything this machine can run, says plainly what it could not, and ends
// with one line of totals.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir, totalmem } from "node:os";
import { join, relative } from "node:path";
import { capture, installDebianPackages, installPackages, run } from "./processes.mjs";

const long = process.argv.includes("--long");
const started = Date.now();
const say = (line) => console.log(`\n[${((Date.now() - started) / 1000).toFixed(0).padStart(4)} s] ${line}`);
const notRun = (what, reason) => console.log(`not run: ${what}: ${reason}`);
const totals = { passed: 0, failed: 0, skipped: 0 };
/** Told again before the totals, so that nobody has to search a long log for them. */
const failures = [];
const skips = [];

async function main() {
  await installPackages(say);
  const root = process.platform === "linux" && process.getuid?.() === 0;
  if (root) await installDebianPackages(await missingPackages(), say);
  if (long) {
    if (!root) throw new Error("the long tests boot machines and need root on Linux");
    return recordLong(await vitest("long", process.execPath, process.argv.slice(3)));
  }
  say("formatting, lint, types, unused code and dependencies");
  await check("npm", ["run", "--silent", "check"]);
  await vitest("unit", process.execPath);
  if (process.platform === "linux" && process.arch === "x64") await vitest("host", await bundledNode());
  else
    notRun(
      "tests of host programs",
      `the bundled Node.js is for linux-x64, this is ${process.platform}-${process.arch}`,
    );
  if (root) await vitest("integration", process.execPath);
  else notRun("integration tests", "they boot machines and need root on Linux; run `sudo -E npm test`");
}

/** A check counts as one test. */
async function check(program, args) {
  try {
    await run(program, args);
    totals.passed += 1;
  } catch (error) {
    console.error(error.message);
    fail(error.message);
  }
}

function fail(what) {
  totals.failed += 1;
  failures.push(what);
}

async function vitest(project, node, files = []) {
  say(`tests: ${project}`);
  const directory = mkdtempSync(join(tmpdir(), "bailiwick-test-"));
  const report = join(directory, "report.json");
  const args = ["node_modules/vitest/vitest.mjs", "run", "--project", project, ...files];
  try {
    await run(node, [...args, "--reporter=default", "--reporter=json", `--outputFile.json=${report}`]).catch(() => {});
    const result = JSON.parse(readFileSync(report, "utf8"));
    totals.passed += result.numPassedTests;
    totals.failed += result.numFailedTests;
    totals.skipped += result.numPendingTests;
    for (const file of result.testResults) remember(file);
    if (result.numTotalTests === 0) fail(`project ${project} has no test`);
    return result;
  } catch (error) {
    fail(`project ${project} left no report: ${error.message}`);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function remember({ name, status, message, assertionResults }) {
  const file = relative(process.cwd(), name);
  const lines = (text) => text.trim().split("\n").slice(0, 12).join("\n    ");
  for (const { fullName, status, failureMessages } of assertionResults) {
    if (status === "failed") failures.push(`${file}: ${fullName}\n    ${lines(failureMessages.join("\n"))}`);
    if (status === "pending" || status === "skipped") skips.push(`${file}: ${fullName}`);
  }
  if (status !== "failed" || assertionResults.some((test) => test.status === "failed")) return;
  // A file that could not be loaded, or whose setup failed, fails without a failed test.
  fail(`${file}\n    ${lines(message ?? "")}`);
}

/**
 * The last result of each file of the long tests is committed, so that it can be seen when and where they passed.
 * `npm run test:long -- <file>` runs one of them and replaces its result alone.
 */
async function recordLong(result) {
  if (result === undefined) return;
  const { stdout } = await capture("git", ["rev-parse", "HEAD"]);
  const machine = { cpus: cpus().length, memoryGiB: Math.round(totalmem() / 2 ** 30), node: process.version };
  const path = "test/long/last-result.json";
  const record = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {};
  for (const file of result.testResults) {
    const tests = file.assertionResults.map(({ fullName, status, duration, failureMessages }) => ({
      name: fullName,
      status,
      seconds: Math.round((duration ?? 0) / 100) / 10,
      ...(failureMessages.length === 0 ? {} : { failure: failureMessages[0].split("\n")[0] }),
    }));
    const at = new Date(file.endTime ?? Date.now()).toISOString();
    record[relative(process.cwd(), file.name)] = { at, commit: stdout.trim(), machine, tests };
  }
  writeFileSync(path, `${JSON.stringify(record, null, 2)}\n`);
}

/** The Node.js that hosts run, from the same locked package as the component. */
async function bundledNode() {
  const program = 'import("./runtime/bundle/node.ts").then(async (m) => console.log(await m.nodeBinary()))';
  const { code, stdout, stderr } = await capture("node", ["--import", "tsx", "-e", program]);
  if (code !== 0) throw new Error(`the bundled Node.js could not be had: ${stderr}`);
  return stdout.trim();
}

async function missingPackages() {
  const { stdout } = await capture("node", ["bin/bailiwick.mjs", "doctor", "--json"]);
  const packages = new Set([
    "openssh-server",
    "haproxy",
    "dnsmasq-base",
    "cloud-init",
    "openssl",
    "python3-yaml",
    "sudo",
  ]);
  const { stdout: selections } = await capture("dpkg", ["--get-selections"]);
  for (const line of selections.split("\n")) {
    const [name, state] = line.split(/\s+/);
    if (state === "install") packages.delete(name.replace(/:.*$/, ""));
  }
  for (const { ok, fix } of JSON.parse(stdout).checks) {
    const apt = /^apt-get install (?:-y )?(?:--no-install-recommends )?([a-z0-9 .+-]+)$/.exec(fix ?? "");
    if (!ok && apt !== null) for (const name of apt[1].trim().split(/\s+/)) packages.add(name);
  }
  return [...packages];
}

main()
  .catch((error) => fail(error.message))
  .finally(() => {
    for (const skip of skips) console.log(`skipped: ${skip}`);
    for (const failure of failures) console.log(`failed: ${failure}`);
    const skipped = totals.skipped === 0 ? "" : `, ${totals.skipped} skipped`;
    console.log(`\n${totals.passed} passed, ${totals.failed} failed${skipped}`);
    process.exitCode = totals.failed === 0 && totals.passed > 0 ? 0 : 1;
  });
