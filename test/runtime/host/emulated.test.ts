import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const PRELOAD = fileURLToPath(new URL("../../../runtime/release/render/templates/emulated.mjs", import.meta.url));
const SHARED = "openclaw-state-lease-heartbeat-shared-D-D6j71P.mjs";
const WORKER = "state/openclaw-state-lease-heartbeat.worker.js";
const BOUND = "const LEASE_HEARTBEAT_START_TIMEOUT_MS = 5e3;";
/** A text beyond ASCII, and constants that only look alike. */
const MODULE = `${BOUND}\nconst OTHER_TIMEOUT_MS = 5e3;\nconst text = "é…";\n`;
const VALUES = "[LEASE_HEARTBEAT_START_TIMEOUT_MS, OTHER_TIMEOUT_MS, text]";
const REPORT = `
import { parentPort } from "node:worker_threads";
parentPort.postMessage({ values: ${VALUES}, options: process.execArgv, environment: Object.keys(process.env) });`;

/** Starts workers as OpenClaw does: without arguments and environment. */
const ENTRY = `
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { values as shared } from "./dist/${SHARED}";
import { values as other } from "./dist/other.mjs";
const said = {};
for (const name of ["${WORKER}", "state/other.worker.js"]) {
  const worker = new Worker(new URL("./dist/" + name, import.meta.url), { env: {}, execArgv: [], stdout: true, stderr: true });
  worker.stderr.resume();
  [said[name]] = await once(worker, "message");
}
console.log(JSON.stringify({ shared, other, ...said }));`;

describe("what is loaded before OpenClaw on an emulated machine", () => {
  let folder = "";
  const path = (name: string) => join(folder, "node_modules/openclaw", name);
  const write = (name: string, text: string) => writeFileSync(path(name), text);
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "emulated-"));
    mkdirSync(path("dist/state"), { recursive: true });
    write("package.json", JSON.stringify({ type: "module" }));
    write("openclaw.mjs", ENTRY);
    for (const name of [SHARED, "other.mjs"]) write(`dist/${name}`, `${MODULE}export const values = ${VALUES};`);
    for (const name of [WORKER, "state/other.worker.js"]) write(`dist/${name}`, `${MODULE}${REPORT}`);
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const start = (options: string) => {
    const env = { PATH: process.env.PATH, NODE_OPTIONS: options };
    const { stdout, stderr } = spawnSync(process.execPath, [path("openclaw.mjs")], { encoding: "utf8", env });
    return { said: JSON.parse(stdout || "null"), stderr };
  };
  const loaded = () => start(`--max-old-space-size=512 --import ${PRELOAD}`);
  const comes = [5000, 5000, "é…"];
  const becomes = [120_000, 5000, "é…"];

  it("lengthens the bound in the module and in the worker that has a copy, and nothing else anywhere", () => {
    const as = (values: unknown, options: string[] = []) => ({ values, options, environment: [] });
    const untouched = { shared: comes, other: comes, [WORKER]: as(comes), "state/other.worker.js": as(comes) };
    expect(start("--max-old-space-size=512")).toEqual({ said: untouched, stderr: "" });
    const lengthened = { ...untouched, shared: becomes, [WORKER]: as(becomes, ["--import", `file://${PRELOAD}`]) };
    expect(loaded()).toEqual({ said: lengthened, stderr: "" });
  });

  it("changes no file", () => {
    loaded();
    expect(readFileSync(path(`dist/${SHARED}`), "utf8")).toContain(BOUND);
    expect(readFileSync(path(`dist/${WORKER}`), "utf8")).toContain(BOUND);
  });

  it.each([
    [SHARED, "has another", MODULE.replace("5e3", "6e3"), 0],
    [WORKER, "has another", MODULE.replace("5e3", "6e3"), 0],
    [SHARED, "has it twice", `${MODULE}{ ${BOUND} }\n`, 2],
  ])("says of an OpenClaw whose %s %s that its bound is as it comes", (name, _how, text, times) => {
    write(`dist/${name}`, `${text}${name === WORKER ? REPORT : `export const values = ${VALUES};`}`);
    const { said, stderr } = loaded();
    expect(said).not.toBeNull();
    expect(stderr).toMatch(
      new RegExp(`^<3>bailiwick: file://.*${name} has "const LEASE.*" ${times} times, not once; `),
    );
    expect(stderr.trim().split("\n")).toHaveLength(1);
  });

  it("says of an OpenClaw without such modules that there are none", () => {
    rmSync(path("dist/state"), { recursive: true });
    rmSync(path(`dist/${SHARED}`));
    write("openclaw.mjs", "console.log(1)");
    const { said, stderr } = loaded();
    expect(said).toBe(1);
    expect(stderr.trim().split("\n")).toHaveLength(2);
    expect(stderr).toMatch(/^<3>bailiwick: .*dist has no file .*shared/);
  });

  it("says nothing in other programs of Node.js that are started by OpenClaw", () => {
    write("child.mjs", "console.log(2)");
    const env = { NODE_OPTIONS: `--import ${PRELOAD}` };
    const { stdout, stderr } = spawnSync(process.execPath, [path("child.mjs")], { encoding: "utf8", env });
    expect([stdout, stderr]).toEqual(["2\n", ""]);
  });
});
