import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { McpServerSpec, PinnedTool } from "../runtime/policy/tools/schema.ts";
import { canonicalJson } from "../runtime/spec/digest.ts";
import { MCP_LOCK, parseMcpLock, pinnedSource } from "../runtime/spec/tool-definitions.ts";
import { Refusal } from "./refuse.ts";

/**
 * The tools of a server as the project's `mcp.lock.json` has them; none if it has none of that server.
 * @throws Refusal for a lock file that is not whole, or tools that were read from another source than the server's
 */
export function pinnedTools(path: string, server: string, source: McpServerSpec["source"]): PinnedTool[] {
  const file = join(process.cwd(), MCP_LOCK);
  if (!existsSync(file)) return [];
  try {
    const entry = parseMcpLock(readFileSync(file, "utf8"), MCP_LOCK).servers[server];
    if (entry === undefined) return [];
    const wanted = pinnedSource(source);
    if (canonicalJson(entry.source) !== canonicalJson(wanted))
      throw new Error(
        `${MCP_LOCK} has tools of "${server}" that were read from ${described(entry.source)}, the server is made from ${described(wanted)}; deploy it without grants and pin again with \`bailiwick mcp pin\``,
      );
    return entry.tools;
  } catch (error) {
    throw new Refusal(`${path}: ${(error as Error).message}`);
  }
}

function described(source: ReturnType<typeof pinnedSource>): string {
  return source.kind === "remote"
    ? source.url
    : `${source.package} ${source.version} (package-lock.json ${source.lock.slice(0, 12)})`;
}
