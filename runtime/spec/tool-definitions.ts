import {
  McpLock,
  type McpServerSpec,
  type PinnedSource,
  type PinnedTool,
  ToolDefinition,
} from "../policy/tools/schema.ts";
import { canonicalJson, sha256 } from "./digest.ts";

/** Most tools a server may have; more is no catalogue that somebody reviews. */
const MAX_TOOLS = 512;

/** Name of the lock file, at the top of a project. */
export const MCP_LOCK = "mcp.lock.json";

/** Of a server's source, what its tools are pinned to: not its arguments or environment, but whose code or service it is. */
export function pinnedSource(source: McpServerSpec["source"]): PinnedSource {
  if (source.kind === "remote") return { kind: "remote", url: source.url };
  const { kind, package: name, version, integrity, lock } = source;
  return { kind, package: name, version, integrity, lock };
}

/** sha256 of the canonical JSON of a tool's definition. */
export function toolHash(tool: ToolDefinition): string {
  const { name, title, description, inputSchema, outputSchema, annotations } = tool;
  return sha256(canonicalJson({ name, title, description, inputSchema, outputSchema, annotations }));
}

/**
 * The definitions in a server's answer to `tools/list`, without what is not pinned (`_meta`, icons): no agent sees that.
 * @throws naming the tool that is not well-formed or occurs twice; its name is quoted and cut, for it is the server's text
 */
export function readDefinitions(tools: readonly unknown[]): ToolDefinition[] {
  if (tools.length > MAX_TOOLS) throw new Error(`the server lists more than ${MAX_TOOLS} tools, the most there may be`);
  const names = new Set<string>();
  return tools.map((tool, i) => {
    const given = typeof tool === "object" && tool !== null ? (tool as Record<string, unknown>) : {};
    const known = Object.keys(ToolDefinition.shape).filter((key) => given[key] !== undefined && given[key] !== null);
    const result = ToolDefinition.safeParse(Object.fromEntries(known.map((key) => [key, given[key]])));
    if (!result.success) {
      const [issue] = result.error.issues;
      const where = `tool ${i} (${JSON.stringify(String(given.name).slice(0, 64))})`;
      throw new Error(`${where}: ${issue?.path.join(".")}: ${issue?.message}`);
    }
    const { name } = result.data;
    if (names.has(name)) throw new Error(`tool "${name}" is listed twice`);
    names.add(name);
    return result.data;
  });
}

/** How a server's tools differ from those that were reviewed. */
export interface Drift {
  readonly changed: readonly { readonly tool: string; readonly was: string; readonly is: string }[];
  readonly missing: readonly string[];
  /** Tools that nobody has reviewed. They are never exposed, so alone they are no reason to distrust the others. */
  readonly added: readonly string[];
}

/** Compares what a server says now with what was pinned. */
export function compareTools(pinned: readonly PinnedTool[], found: readonly ToolDefinition[]): Drift {
  const now = new Map(found.map((tool) => [tool.name, toolHash(tool)]));
  const known = new Set(pinned.map(({ name }) => name));
  return {
    changed: pinned.flatMap(({ name, hash }) => {
      const is = now.get(name);
      return is === undefined || is === hash ? [] : [{ tool: name, was: hash, is }];
    }),
    missing: pinned.filter(({ name }) => !now.has(name)).map(({ name }) => name),
    added: found.filter(({ name }) => !known.has(name)).map(({ name }) => name),
  };
}

/**
 * The tools as they are pinned now, sorted by name. A tool keeps its class as long as its definition stays the same: what
 * has changed must be read and classified again.
 */
export function pinTools(before: readonly PinnedTool[], found: readonly ToolDefinition[]): PinnedTool[] {
  const classes = new Map(before.map((tool) => [tool.hash, tool.class]));
  return found
    .map((tool) => {
      const hash = toolHash(tool);
      return { ...tool, hash, class: classes.get(hash) ?? null };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * The content of an `mcp.lock.json`.
 * @param file its name, for messages
 * @throws naming the place: not JSON, not this format, a tool twice, or a definition that is not the one of its hash
 */
export function parseMcpLock(text: string, file: string): McpLock {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new Error(
      `${file}: is not valid JSON; restore it from version control, or pin again with \`bailiwick mcp pin\``,
    );
  }
  const result = McpLock.safeParse(json);
  if (!result.success) {
    const [issue] = result.error.issues;
    throw new Error(
      `${file}: ${issue?.path.join(".") || "document"}: ${issue?.message}; pin again with \`bailiwick mcp pin\``,
    );
  }
  for (const [server, { tools }] of Object.entries(result.data.servers)) {
    const names = new Set<string>();
    for (const tool of tools) {
      const at = `${file}: servers.${server}.tools "${tool.name}"`;
      if (names.has(tool.name)) throw new Error(`${at}: occurs twice; remove one`);
      names.add(tool.name);
      if (toolHash(tool) !== tool.hash)
        throw new Error(
          `${at}: its definition is not the one that hash ${tool.hash.slice(0, 12)} was made of; only "class" is edited by hand: pin again with \`bailiwick mcp pin\``,
        );
    }
  }
  return result.data;
}

// What a reviewer does not see, or sees in another order: tags, zero-width and direction marks, private use.
const UNSEEN = /[\p{Cf}\p{Co}\p{Zl}\p{Zp}\u{e0000}-\u{e0fff}]/gu;

/** Text in which everything that is not seen is written as an escape of JSON. */
export function visible(text: string): string {
  return text.replace(UNSEEN, (unseen) =>
    unseen
      .split("")
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
      .join(""),
  );
}

/**
 * The text of an `mcp.lock.json`: servers and tools sorted, so that its diff shows what changed and nothing else; no character
 * in it that a reader would not see.
 */
export function formatMcpLock(lock: McpLock): string {
  const servers = Object.entries(lock.servers).sort(([a], [b]) => (a < b ? -1 : 1));
  return `${visible(JSON.stringify({ version: 1, servers: Object.fromEntries(servers) }, null, 2))}\n`;
}
