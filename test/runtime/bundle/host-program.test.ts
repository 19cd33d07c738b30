import { execFile, execFileSync } from "node:child_process";
import { appendFileSync, cpSync, existsSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { hostProgramComponent, hostProgramInputs } from "../../../runtime/bundle/host-program.ts";
import { nodeBinary } from "../../../runtime/bundle/node.ts";
import { emptyCache, scratch, write } from "./scratch.ts";

const ENTRY = "runtime/host/greeter/main.ts";

/** A small project like this one: a host program with an own module, a shared one, and packages of both module systems. */
function project(): string {
  const folder = scratch();
  write(folder, {
    [ENTRY]: `import { readFileSync } from "node:fs";
import pino from "pino";
import { z } from "zod";
import { shared } from "../../spec/shared.ts";
import type { Greeting } from "./greeting.ts";
import { greeting } from "./greeting.ts";
/*! licence of the greeter */
const log = pino({ base: null, timestamp: false });
const said: Greeting = greeting(z.string().parse(process.argv[2]));
log.info({ ...said, shared, own: readFileSync(new URL(import.meta.url)).length > 0, major: process.versions.node.split(".")[0] });
`,
    "runtime/host/greeter/greeting.ts":
      "export interface Greeting { readonly hello: string }\nexport const greeting = (name: string): Greeting => ({ hello: name });\n",
    "runtime/spec/shared.ts": "export const shared = 7;\n",
    "package-lock.json": JSON.stringify({
      packages: { "": {}, "node_modules/pino": { version: "1", integrity: "x" } },
    }),
  });
  symlinkSync(resolve("node_modules"), join(folder, "node_modules"));
  return folder;
}

const entryOf = (folder: string) => join(folder, ENTRY);

describe("a host program", () => {
  it("runs on the bundled Node.js as one file, packages of both module systems included", async () => {
    const built = await hostProgramComponent("greeter", entryOf(project()), { cache: await emptyCache() });
    const unpacked = scratch();
    execFileSync("tar", ["--zstd", "-xf", built.archive.path, "-C", unpacked]);
    expect(readdirSync(unpacked)).toEqual(["greeter.mjs"]);
    const { stdout } = await promisify(execFile)(await nodeBinary(), [join(unpacked, "greeter.mjs"), "ada"], {
      env: {},
    });
    expect(JSON.parse(stdout)).toEqual({ level: 30, hello: "ada", shared: 7, own: true, major: "24" });
    const text = readFileSync(join(unpacked, "greeter.mjs"), "utf8");
    expect(text).toContain("licence of the greeter");
    expect(text).not.toContain("sourceMappingURL");
  });

  it("is the same from two clones, also where node_modules is real in one and a link in the other", async () => {
    const [one, two] = [project(), project()];
    execFileSync("rm", [join(two, "node_modules")]);
    for (const name of ["zod", ...pinoAndWhatItNeeds()])
      cpSync(resolve("node_modules", name), join(two, "node_modules", name), { recursive: true });
    const a = await hostProgramComponent("greeter", entryOf(one), { cache: await emptyCache() });
    const b = await hostProgramComponent("greeter", entryOf(two), { cache: await emptyCache() });
    expect(b.digest).toBe(a.digest);
    expect(b.archive.sha256).toBe(a.archive.sha256);
  });

  it("does not depend on the folder it is built from", async () => {
    const folder = project();
    const here = process.cwd();
    const a = await hostProgramComponent("greeter", entryOf(folder), { cache: await emptyCache() });
    process.chdir(join(folder, "runtime"));
    try {
      const b = await hostProgramComponent("greeter", "host/greeter/main.ts", { cache: await emptyCache() });
      expect(b.digest).toBe(a.digest);
    } finally {
      process.chdir(here);
    }
  });

  it("changes with its own source, shared source and locked packages, and is not bundled again otherwise", async () => {
    const folder = project();
    const cache = await emptyCache();
    const told: string[] = [];
    const build = () =>
      hostProgramComponent("greeter", entryOf(folder), { cache, progress: (line) => void told.push(line) });
    const first = await build();
    expect(await build()).toEqual(first);
    expect(told).toEqual(["bundling greeter", "packing greeter"]);
    appendFileSync(join(folder, "runtime/host/greeter/greeting.ts"), "console.error(1);\n");
    const second = await build();
    expect(second.digest).not.toBe(first.digest);
    appendFileSync(join(folder, "runtime/spec/shared.ts"), "console.error(2);\n");
    expect((await build()).digest).not.toBe(second.digest);
    const before = await hostProgramInputs("greeter", entryOf(folder));
    const lock = (dev: boolean) =>
      JSON.stringify({
        packages: {
          "": {},
          "node_modules/pino": { version: "1", integrity: "x" },
          "node_modules/y": { version: "2", integrity: "y", ...(dev ? { dev } : {}) },
        },
      });
    write(folder, { "package-lock.json": lock(true) });
    expect(await hostProgramInputs("greeter", entryOf(folder))).toBe(before);
    write(folder, { "package-lock.json": lock(false) });
    expect(await hostProgramInputs("greeter", entryOf(folder))).not.toBe(before);
  });

  it("may not import what is not among its inputs", async () => {
    const folder = project();
    write(folder, { "runtime/host/sibling/x.ts": "export const x = 1;\n" });
    appendFileSync(entryOf(folder), 'import { x } from "../sibling/x.ts";\nconsole.error(x);\n');
    const built = hostProgramComponent("greeter", entryOf(folder), { cache: await emptyCache() });
    await expect(built).rejects.toThrow('greeter imports "runtime/host/sibling/x.ts"; a host program may import');
  });

  it("fails with the bundler's words when a module is missing", async () => {
    const folder = project();
    appendFileSync(entryOf(folder), 'import "./absent.ts";\n');
    const built = hostProgramComponent("greeter", entryOf(folder), { cache: await emptyCache() });
    await expect(built).rejects.toThrow(/Could not resolve "\.\/absent\.ts"/);
  });
});

function pinoAndWhatItNeeds(from = ["pino"]): string[] {
  const seen = new Set<string>();
  for (const name of from) {
    if (seen.has(name) || !existsSync(resolve("node_modules", name))) continue;
    seen.add(name);
    const { dependencies = {} } = JSON.parse(readFileSync(resolve("node_modules", name, "package.json"), "utf8"));
    from.push(...Object.keys(dependencies));
  }
  return [...seen];
}
