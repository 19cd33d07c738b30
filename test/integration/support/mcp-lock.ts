import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import type { McpLock } from "../../../runtime/policy/tools/schema.ts";
import { sha256 } from "../../../runtime/spec/digest.ts";
import { pinTools, readDefinitions } from "../../../runtime/spec/tool-definitions.ts";

/** A server's entry in `mcp.lock.json`, pinned here and classified, for a host that is deployed with its grants at once. */
export async function reviewed(name: string, args: string[]): Promise<McpLock["servers"][string]> {
  const lock = readFileSync(join(import.meta.dirname, "mcp/package-lock.json"), "utf8");
  const { packages } = JSON.parse(lock) as { packages: Record<string, { version: string; integrity: string }> };
  const { version = "", integrity = "" } = packages[`node_modules/${name}`] ?? {};
  const tools = pinTools([], readDefinitions(await toolsOf(name, args)));
  return {
    source: { kind: "npm", package: name, version, integrity, lock: sha256(lock) },
    tools: tools.map((tool) => ({
      ...tool,
      class: /^(?:write|edit|move|create)/.test(tool.name) ? ("write" as const) : ("read" as const),
    })),
  };
}

async function toolsOf(name: string, args: string[]): Promise<unknown[]> {
  const script = join(import.meta.dirname, "../../../node_modules", name, "dist/index.js");
  const client = new Client({ name: "reviewer", version: "1" });
  await client.connect(
    new StdioClientTransport({ command: process.execPath, args: [script, ...args], stderr: "ignore" }),
  );
  try {
    return (await client.listTools()).tools;
  } finally {
    await client.close();
  }
}
