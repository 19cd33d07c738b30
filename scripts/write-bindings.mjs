// Writes constructs/imports/hcloud: bindings of the Hetzner resources in use, made by cdktf's own generator from the schema
// that the real provider prints. Run by `npm run bindings`; with a folder as argument it writes there instead, to compare.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { TerraformProviderGenerator } from "@cdktf/provider-generator/lib/get/generator/provider-generator.js";
import { CodeMaker } from "codemaker";
import { capture } from "./processes.mjs";
import { providerMirror, providerVersion } from "./provider-mirror.ts";

const OUT = process.argv[2] ?? "constructs/imports/hcloud";
const SOURCE = "registry.terraform.io/hetznercloud/hcloud";
const RESOURCES = [
  "hcloud_firewall",
  "hcloud_network",
  "hcloud_network_subnet",
  "hcloud_placement_group",
  "hcloud_server",
  "hcloud_ssh_key",
  "hcloud_volume",
  "hcloud_volume_attachment",
];
const DATA_SOURCES = ["hcloud_volumes"];

const folder = mkdtempSync(join(tmpdir(), "bailiwick-bindings-"));
try {
  const version = providerVersion();
  const schema = await providerSchema(version);
  const found = schema.provider_schemas[SOURCE];
  keepOnly(found, "resource_schemas", RESOURCES);
  keepOnly(found, "data_source_schemas", DATA_SOURCES);
  const kinds = ["provider", "resource_schemas", "data_source_schemas"];
  for (const kind of Object.keys(found)) if (!kinds.includes(kind)) delete found[kind];
  schema.provider_versions = { [SOURCE]: version };

  const code = new CodeMaker();
  new TerraformProviderGenerator(code, schema).generateAll();
  await code.save(join(folder, "out"));
  rmSync(OUT, { recursive: true, force: true });
  for (const entry of readdirSync(join(folder, "out"), { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || !path.endsWith(".ts") || entry.name === "lazy-index.ts") continue;
    const target = join(OUT, relative(join(folder, "out", "providers", "hcloud"), path));
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, asModule(readFileSync(path, "utf8")));
  }
  console.log(`${OUT}: ${RESOURCES.length + DATA_SOURCES.length} resources and data sources of ${SOURCE} ${version}`);
} finally {
  rmSync(folder, { recursive: true });
}

function keepOnly(schemas, kind, names) {
  const missing = names.filter((name) => schemas[kind][name] === undefined);
  if (missing.length > 0) throw new Error(`the provider's schema has no ${missing.join(", ")}`);
  schemas[kind] = Object.fromEntries(names.map((name) => [name, schemas[kind][name]]));
}

/** Sources here are ES modules whose imports name files, and are checked more strictly than cdktf generates. */
function asModule(text) {
  const imports = text.replaceAll(/((?:from|import) ['"])(\.{1,2}\/[^'"]+?)(?:\/index)?(['"])/g, "$1$2/index.ts$3");
  return `// @ts-nocheck\n${imports.trimStart()}`;
}

async function providerSchema(version) {
  const main = { terraform: { required_providers: { hcloud: { source: "hetznercloud/hcloud", version } } } };
  writeFileSync(join(folder, "main.tf.json"), JSON.stringify(main));
  const env = { ...process.env, TF_CLI_CONFIG_FILE: await providerMirror(console.log), CHECKPOINT_DISABLE: "1" };
  for (const args of [
    ["init", "-no-color", "-input=false"],
    ["providers", "schema", "-json"],
  ]) {
    const { code, stdout, stderr } = await capture("terraform", args, { cwd: folder, env });
    if (code !== 0)
      throw new Error(`terraform ${args[0]} ended with exit code ${code}: ${stderr.trim() || stdout.trim()}`);
    if (args[0] === "providers") return JSON.parse(stdout);
  }
}
