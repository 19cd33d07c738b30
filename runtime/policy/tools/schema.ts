import * as z from "zod";

/** A tool's name as its server writes it. */
const ToolName = z
  .string()
  .regex(/^[A-Za-z0-9_][A-Za-z0-9_./-]{0,127}$/, "must be a tool's name as its server writes it, such as list_issues");

const Hash = z.string().regex(/^[0-9a-f]{64}$/, "must be 64 lower-case hex digits");
const JsonObject = z.record(z.string(), z.unknown().describe("Anything."));

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
export type PinnedSource = z.infer<typeof PinnedSource>;

const EnvName = z
  .string()
  .regex(/^[A-Z_][A-Z0-9_]*$/, "must be the name of an environment variable, such as GITHUB_TOKEN");

const NpmSource = z
  .strictObject({
    kind: z.literal("npm").describe("A stdio server from npm, on the host: one process per session of an agent."),
    folder: z
      .string()
      .min(1)
      .describe(
        "Folder on the operator's machine with its package.json and package-lock.json (absolute, or relative to the project).",
      ),
    package: z.string().min(1).describe("The package that is the server."),
    version: z.string().min(1).describe("Its version, as locked."),
    integrity: z.string().describe("Its integrity, as locked."),
    lock: Hash.describe("sha256 of the package-lock.json."),
    entry: z
      .string()
      .regex(/^node_modules\/(?!.*(?:^|\/)\.\.?(?:\/|$))[A-Za-z0-9@._/+=-]+$/)
      .describe("The program to run, relative to the folder."),
    args: z.array(z.string()).describe("Its arguments."),
    env: z
      .record(EnvName, z.string().max(4096).describe("Its value."))
      .describe("Plain environment variables. Never secrets."),
    secrets: z
      .record(EnvName, z.string().describe("Name of the secret."))
      .describe("Environment variables whose values are secrets; set within its process alone."),
  })
  .describe("A stdio server from npm.");

const RemoteSource = z
  .strictObject({
    kind: z.literal("remote").describe("A service of somebody else, by streamable HTTP. Only the guard reaches it."),
    url: z
      .string()
      .regex(
        /^https:\/\/[a-z0-9.-]+(\/[A-Za-z0-9._~/-]*)?$/,
        "must be an https:// URL of an exact name on port 443, such as https://mcp.example.com/mcp",
      )
      .describe("Its URL."),
    token: z.string().nullable().describe("Name of the secret that is sent as bearer token; null for none."),
  })
  .describe("A remote server.");

export const McpServerSpec = z
  .strictObject({
    uid: z
      .number()
      .int()
      .min(20100)
      .max(29999)
      .nullable()
      .describe("Unix uid of a server on the host; null for a remote one."),
    source: z.discriminatedUnion("kind", [NpmSource, RemoteSource]).describe("What the server is."),
    tools: z
      .array(PinnedTool)
      .describe("Its tools as reviewed, from mcp.lock.json. None while nothing of it is granted or pinned."),
  })
  .describe("One MCP server. Agents reach it through the guard alone.");
export type McpServerSpec = z.infer<typeof McpServerSpec>;

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

export const CallGrant = z
  .strictObject({
    agent: z.string().describe("Name of the agent that may call."),
    server: z.string().describe("Name of the MCP server on this host."),
    tools: z.array(GrantedTool).min(1).describe("The tools; no other of that server exists for the agent."),
  })
  .describe("One agent may call some tools of one MCP server through the guard, with a token of its own.");
export type CallGrant = z.infer<typeof CallGrant>;

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
      callMs: z.number().int().min(1).optional().describe("Longest call, ms, where it is not the guard's own limit."),
      exitStatus: z
        .boolean()
        .optional()
        .describe("Whether its results say by which exit status a command ended, which is then logged: a shell."),
    }),
  ),
  limits: GuardLimits,
});
export type GuardConfig = z.infer<typeof GuardConfig>;
