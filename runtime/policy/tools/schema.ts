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

/** One argument as a grant narrows it: the argument must then be given, and every string in it must fit. */
export const Narrowing = z
  .discriminatedUnion("kind", [
    z.strictObject({
      kind: z.literal("enum").describe("One of some values."),
      values: z.array(z.string()).min(1).describe("The values it may have."),
    }),
    z.strictObject({
      kind: z.literal("pattern").describe("A pattern."),
      pattern: z
        .string()
        .min(1)
        .max(512)
        .refine(isPattern, "must be a regular expression of JavaScript")
        .describe("Regular expression that the whole of it must match."),
    }),
    z.strictObject({
      kind: z.literal("path-prefix").describe("A path and what lies below it."),
      prefix: z
        .string()
        .regex(
          /^(\/|(\/(?!\.\.?(\/|$))[^/\\\p{Cc}]+)+)$/u,
          "must be an absolute path without . or .. parts or a slash at its end",
        )
        .describe("Absolute path; the argument must be it or lie below it, and be written without `.` and `..`."),
    }),
  ])
  .describe("What one argument may be.");
export type Narrowing = z.infer<typeof Narrowing>;

function isPattern(text: string): boolean {
  try {
    new RegExp(text, "u");
    return true;
  } catch {
    return false;
  }
}

export const GrantedTool = z
  .strictObject({
    name: ToolName.describe("The tool's name."),
    arguments: z.record(z.string(), Narrowing).describe("Arguments that are narrowed, by name; others are free."),
    approval: z
      .enum(["each-call", "waived"])
      .describe(
        "Of a tool that writes: whether each call waits for `bailiwick approve`. A tool that reads never does.",
      ),
  })
  .describe("One tool.");
export type GrantedTool = z.infer<typeof GrantedTool>;

/** Bounds of the guard; the numbers are per agent unless they say otherwise. */
const GuardLimits = z.strictObject({
  bodyBytes: z.number().int().min(1).describe("Largest request, bytes."),
  resultBytes: z.number().int().min(1).describe("Largest message of a server, bytes."),
  callMs: z.number().int().min(1).describe("Longest call, ms."),
  startMs: z.number().int().min(1).describe("Longest start of a server and reading of its tools, ms."),
  requestsPerMinute: z.number().int().min(1).describe("Requests that start something, listings and calls."),
  concurrentCalls: z.number().int().min(1),
  sessions: z
    .number()
    .int()
    .min(1)
    .describe("Open sessions; the one that was idle for longest gives way to a new one."),
  idleMs: z.number().int().min(1).describe("Silence after which a session is closed, ms."),
  pendingApprovals: z.number().int().min(1).describe("Calls that wait for approval at one time."),
  pendingMs: z.number().int().min(1).describe("How long a call waits for its approval, ms."),
  approvalMs: z.number().int().min(1).describe("How long an approval can be used, ms."),
});

/** The guard's whole configuration file; besides, there are its credentials and the admin socket that systemd hands it. */
export const GuardConfig = z.strictObject({
  listen: z.strictObject({ host: z.literal("127.0.0.1"), port: z.number().int().min(0).max(65535) }),
  agents: z.array(
    z.strictObject({
      agent: z.string(),
      sha256: z.array(Hash).min(1).max(2).describe("Hex sha256 of each valid token; two during rotation."),
    }),
  ),
  servers: z.array(
    z.strictObject({
      name: z.string(),
      backend: z.discriminatedUnion("kind", [
        z.strictObject({ kind: z.literal("unix"), path: z.string().describe("Socket of the server's systemd unit.") }),
        z.strictObject({
          kind: z.literal("remote"),
          url: z.string(),
          credential: z.string().nullable().describe("File below $CREDENTIALS_DIRECTORY with its bearer token."),
        }),
      ]),
      tools: z.array(PinnedTool),
      grants: z.array(z.strictObject({ agent: z.string(), tools: z.array(GrantedTool).min(1) })),
    }),
  ),
  limits: GuardLimits,
});
export type GuardConfig = z.infer<typeof GuardConfig>;
