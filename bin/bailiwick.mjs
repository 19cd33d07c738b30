#!/usr/bin/env node
// In a clone the sources run as they are: by Node.js itself where it reads TypeScript, else through tsx, which takes half a
// second longer. An installed package has them compiled beside this file.
import { existsSync } from "node:fs";
import module from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";

if (existsSync(new URL("../runtime/cli/main.ts", import.meta.url))) {
  // Node.js's own default is a folder that others may have made: what is compiled there would run with the operator's keys
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache");
  module.enableCompileCache?.(join(process.env.BAILIWICK_CACHE ?? join(cache, "bailiwick"), "compiled"));
  // Node.js reads no TypeScript below node_modules, where a team's project has the kit.
  const packaged = import.meta.url.includes("/node_modules/");
  if (packaged || !process.features.typescript) (await import("tsx/esm/api")).register();
  await import("../runtime/cli/main.ts");
} else {
  await import("../dist/runtime/cli/main.js");
}
