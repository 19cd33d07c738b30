import { z } from "zod";

/** A tool's name as its server writes it. */
const ToolName = z
  .string()
  .regex(/^[A-Za-z0-9_][A-Za-z0-9_./-]{0,127}$/, "must be a tool's name as its server writes it, such as list_issues");

const Hash = z.string().regex(/^[0-9a-f]{64}$/, "must be 64 lower-case hex digits");
const JsonObject = z.record(z.string(), z.unknown());

/** What an agent is told of a tool, and so all of it that is pinned: nothing else that a server says reaches an agent. */
export const ToolDefinition = z
  .strictObject({
    name: ToolName.describe("The tool's name."),
    title: z.string().optional().describe("Name for people, in the server's words."),
    description: z.string().optional().describe("What it does, in the server's words."),
    inputSchema: JsonObject.describe("JSON Schema of its arguments."),
    outputSchema: JsonObject.optional().describe("JSON Schema of its structured result."),
    annotations: JsonObject.optional().describe("What the server claims of it. Shown, never trusted."),
  })
  .describe("A tool as its server described it.");
export type ToolDefinition = z.infer<typeof ToolDefinition>;

const TOOL_CLASS = z.enum(["read", "write"]);

/** A tool definition as it was reviewed. */
export const PinnedTool = z
  .strictObject({
    ...ToolDefinition.shape,
    hash: Hash.describe("sha256 of the canonical JSON of the definition."),
    class: TOOL_CLASS.nullable().describe(
      "What the operator says of it: `read` changes nothing anywhere, `write` may. Null: not said yet, so it cannot be granted.",
    ),
  })
  .describe("One pinned tool.");
export type PinnedTool = z.infer<typeof PinnedTool>;

/** Which code, or whose service, the definitions were read from. */
const PinnedSource = z
  .discriminatedUnion("kind", [
    z.strictObject({
      kind: z.literal("npm").describe("Packages from a lock file."),
      package: z.string().min(1).describe("The package that is the server."),
      version: z.string().min(1).describe("Its version."),
      integrity: z
        .string()
        .regex(/^sha512-[A-Za-z0-9+/]{86}==$/)
        .describe("Its integrity, as npm writes it."),
      lock: Hash.describe("sha256 of the server's package-lock.json, which has the integrity of all it depends on."),
    }),
    z.strictObject({
      kind: z.literal("remote").describe("A service of somebody else."),
      url: z.string().min(1).describe("Its URL."),
    }),
  ])
  .describe("What the definitions were read from; a server that is made from another source is not pinned.");

/** `mcp.lock.json`, at the top of the project: written by `bailiwick mcp pin`, classified and committed by people. */
export const McpLock = z.strictObject({
  version: z.literal(1),
  servers: z.record(z.string(), z.strictObject({ source: PinnedSource, tools: z.array(PinnedTool) })),
});
export type McpLock = z.infer<typeof McpLock>;
