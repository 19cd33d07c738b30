import { readdirSync, readFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

// Who may import whom, as docs/architecture.md says. A rule is [folder, own folders it may import, packages it may import].
// The most specific folder wins; a folder may always import itself and node: modules.
const SCHEMAS = /^runtime\/policy\/[a-z]+\/schema\.ts$/;
const rules: { folder: RegExp; own: RegExp[]; packages: RegExp }[] = [
  { folder: SCHEMAS, own: [SCHEMAS], packages: /^zod$/ },
  { folder: /^runtime\/spec\//, own: [SCHEMAS], packages: /^zod$/ },
  { folder: /^runtime\/policy\//, own: [/^runtime\/spec\//, /^cloud-init\/render\.ts$/, SCHEMAS], packages: /^zod$/ },
  { folder: /^runtime\/bundle\//, own: [/^runtime\/spec\//, /^cloud-init\/render\.ts$/], packages: /^(zod|esbuild)$/ },
  { folder: /^cloud-init\//, own: [/^runtime\/spec\//], packages: /^handlebars$/ },
  { folder: /^runtime\/ssh\//, own: [], packages: /^ssh2$/ },
  { folder: /^runtime\/local\//, own: [/^runtime\/spec\//, /^runtime\/ssh\//], packages: /^zod$/ },
  {
    folder: /^runtime\/release\//,
    own: [/^runtime\/(spec|policy|bundle|ssh)\//, /^cloud-init\//],
    packages: /^zod$/,
  },
  {
    folder: /^runtime\/existing\//,
    own: [/^runtime\/(spec|ssh)\//, /^runtime\/release\/dry-run\.ts$/, /^cloud-init\//],
    packages: /^zod$/,
  },
  { folder: /^runtime\/verify\//, own: [/^runtime\/(spec|policy|ssh)\//], packages: /^zod$/ },
  {
    folder: /^runtime\/cli\//,
    own: [/^runtime\/(spec|policy|bundle|ssh|local|existing|release|verify)\//, /^cloud-init\//],
    packages: /^zod$/,
  },
  { folder: /^runtime\/host\//, own: [/^runtime\/spec\//, SCHEMAS], packages: /^(zod|undici|pino|ajv)$/ },
  { folder: /^constructs\/imports\//, own: [], packages: /^(cdktf|constructs)$/ },
  {
    folder: /^constructs\//,
    own: [/^runtime\/spec\//, SCHEMAS, /^cloud-init\//],
    packages: /^(cdktf|constructs|zod|@pydantic\/genai-prices)$/,
  },
  { folder: /^(stacks|examples)\//, own: [/^constructs\/index\.ts$/], packages: /^(cdktf|constructs)$/ },
];

function sources(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.[mc]?ts$/.test(entry.name))
    .map((entry) => relative(".", resolve(entry.parentPath, entry.name)))
    .filter((file) => !file.includes("node_modules"));
}

function importsOf(file: string): string[] {
  const text = readFileSync(file, "utf8").replace(/\/\*[\s\S]*?\*\//g, "");
  const found = text.matchAll(
    /(?:^|[\s;}])(?:import|export)\s(?:[^"'`;]*?\sfrom\s*)?["']([^"']+)["']|import\(\s*["']([^"']+)["']\s*\)/gm,
  );
  return [...found].map((m) => m[1] ?? m[2] ?? "");
}

function violations(file: string, imports: readonly string[]): string[] {
  const rule = rules.find((r) => r.folder.test(file));
  if (rule === undefined) return [`${file}: no rule says what it may import`];
  // runtime/host/<program>: no sibling program
  const self = file.startsWith("runtime/host/") ? file.split("/").slice(0, 3).join("/") : undefined;
  return imports.flatMap((specifier) => {
    if (specifier.startsWith("node:")) return [];
    if (!specifier.startsWith(".")) {
      const name = specifier
        .split("/")
        .slice(0, specifier.startsWith("@") ? 2 : 1)
        .join("/");
      return rule.packages.test(name) ? [] : [`${file} imports package ${name}`];
    }
    const target = relative(".", resolve(dirname(file), specifier));
    const allowed = self ? target.startsWith(`${self}/`) : rule.folder.test(target);
    return allowed || rule.own.some((o) => o.test(target)) ? [] : [`${file} imports ${target}`];
  });
}

const folders = ["cloud-init", "runtime", "constructs", "stacks", "examples"];

describe("architecture", () => {
  it("every import is one that docs/architecture.md allows", () => {
    const files = folders.flatMap(sources);
    expect(files.length).toBeGreaterThan(10);
    expect(files.flatMap((file) => violations(file, importsOf(file)))).toEqual([]);
  });

  it("the rules refuse what they are there to refuse", () => {
    expect(violations("runtime/ssh/x.ts", ["../spec/names.ts"])).toEqual([
      "runtime/ssh/x.ts imports runtime/spec/names.ts",
    ]);
    expect(violations("runtime/host/activator/x.ts", ["../model-gateway/y.ts"])).toHaveLength(1);
    expect(violations("runtime/release/x.ts", ["cdktf"])).toEqual(["runtime/release/x.ts imports package cdktf"]);
    expect(violations("runtime/policy/egress/schema.ts", ["../../spec/names.ts"])).toHaveLength(1);
    expect(violations("elsewhere/x.ts", [])).toHaveLength(1);
  });
});
