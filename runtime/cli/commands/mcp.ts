import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { McpLock, PinnedTool } from "../../policy/tools/schema.ts";
import { Activator } from "../../release/activator-client.ts";
import {
  compareTools,
  formatMcpLock,
  MCP_LOCK,
  parseMcpLock,
  pinnedSource,
  pinTools,
  readDefinitions,
} from "../../spec/tool-definitions.ts";
import type { Call, Command } from "../command.ts";
import { EXIT, UsageError } from "../errors.ts";
import { type Output, table } from "../output.ts";
import { projectRoot } from "../project.ts";
import { withHost } from "../session.ts";

export const mcp: Command = {
  usage: "mcp pin <host> [<server>...] [--json]",
  summary: "write what MCP servers say of their tools, in their sandboxes on the host, to mcp.lock.json for review",
  words: [2, 50],
  async run(call, output) {
    const [verb] = call.words;
    if (verb === "pin") return pin(call, output);
    throw new UsageError(`received "mcp ${verb}"; there is mcp pin`);
  },
};

async function pin(call: Call, output: Output): Promise<number> {
  const [, name = "", ...wanted] = call.words;
  const file = join(projectRoot(), MCP_LOCK);
  const lock = readLock(file);
  return withHost(name, async ({ spec, connection }) => {
    const known = spec.mcpServers ?? {};
    const strange = wanted.find((server) => !(server in known));
    if (strange !== undefined || Object.keys(known).length === 0)
      throw new UsageError(
        `${strange === undefined ? "" : `received server "${strange}"; `}host "${name}" has ${Object.keys(known).join(", ") || "no MCP server"}`,
      );
    const activator = await Activator.ofCurrentRelease(connection);
    const rows: string[][] = [];
    for (const server of wanted.length === 0 ? Object.keys(known) : wanted) {
      const source = known[server]?.source;
      if (source === undefined) continue;
      output.progress(`asking ${server} for its tools`);
      const answer = await activator.guard({ do: "tools", server });
      if (!("tools" in answer)) throw new Error(`${server}: ${"error" in answer ? answer.error : "no list of tools"}`);
      const before = lock.servers[server]?.tools ?? [];
      const found = readDefinitions(answer.tools);
      const tools = pinTools(before, found);
      lock.servers[server] = { source: pinnedSource(source), tools };
      const { changed, missing, added } = compareTools(before, found);
      for (const tool of tools) rows.push(row(server, tool, changed, added));
      for (const tool of missing) rows.push([server, tool, "gone", ""]);
    }
    writeFileSync(file, formatMcpLock(lock));
    output.document(lock);
    for (const line of table(rows)) output.say(line);
    const open = Object.values(lock.servers).flatMap(({ tools }) => tools.filter((tool) => tool.class === null));
    output.say(`${MCP_LOCK} is written; read its descriptions and schemas, then commit it`);
    if (open.length > 0)
      output.say(
        `${open.length} tool${open.length === 1 ? "" : "s"} to classify: set "class" to "read" if a call changes nothing anywhere, else to "write"`,
      );
    return EXIT.held;
  });
}

function row(
  server: string,
  tool: PinnedTool,
  changed: readonly { tool: string }[],
  added: readonly string[],
): string[] {
  const state = added.includes(tool.name)
    ? "new"
    : changed.some((one) => one.tool === tool.name)
      ? "changed"
      : "as before";
  const claim = tool.annotations?.readOnlyHint === true ? "claims to read" : "";
  return [server, tool.name, state, tool.class ?? "to classify", claim];
}

function readLock(file: string): McpLock {
  if (!existsSync(file)) return { version: 1, servers: {} };
  try {
    return parseMcpLock(readFileSync(file, "utf8"), MCP_LOCK);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
