#!/usr/bin/env node
// In a clone the sources run as they are, through tsx; an installed package has them compiled beside this file.
import { existsSync } from "node:fs";

if (existsSync(new URL("../runtime/cli/main.ts", import.meta.url))) {
  const { register } = await import("tsx/esm/api");
  register();
  await import("../runtime/cli/main.ts");
} else {
  await import("../dist/runtime/cli/main.js");
}
