import * as z from "zod";

const HttpPath = z.string().regex(/^\/[A-Za-z0-9._~/-]*$/, "must be an absolute HTTP path such as /healthz");

const OpenClawRuntime = z
  .strictObject({
    kind: z.literal("openclaw").describe("OpenClaw."),
    version: z
      .string()
      .regex(/^\d{4}\.\d+\.\d+$/)
      .describe("OpenClaw version; must be one this kit has a lock file for."),
    model: z
      .strictObject({
        provider: z.string().describe("Name of the model provider on this host."),
        id: z.string().describe("Model id as the provider writes it."),
      })
      .nullable()
      .describe("Primary model: provider name on this host and model id. Null: the first model granted."),
  })
  .describe("OpenClaw's gateway, in its sandbox, with its configuration owned by root.");

const CommandRuntime = z
  .strictObject({
    kind: z.literal("command").describe("Any daemon."),
    source: z
      .string()
      .min(1)
      .describe(
        "Folder on the operator's machine (absolute, or relative to the project) that is sent as a component, read-only to what runs from it.",
      ),
    argv: z
      .array(z.string().min(1))
      .min(1)
      .describe(
        "Program and arguments. The first is `node` for the bundled Node.js 24, an absolute path on the host, or a path inside the folder starting with `./`.",
      ),
    env: z
      .record(z.string().regex(/^[A-Z_][A-Z0-9_]*$/), z.string().max(4096).describe("Its value."))
      .describe("Plain environment variables. Never secrets."),
    health: HttpPath.nullable().describe(
      "Path on the agent's own port that answers 200 when it is ready. Null: running is ready.",
    ),
    ask: HttpPath.nullable().describe(
      "Path on the agent's own port that takes OpenAI chat completions, for `bailiwick ask`. Null: it cannot be asked.",
    ),
  })
  .describe(
    "Any other daemon: a folder as a component and one command as a unit. It is given BAILIWICK_PORT, BAILIWICK_MODEL_URL_<PROVIDER>, BAILIWICK_MCP_URL_<SERVER>, and as credential files its virtual key, $CREDENTIALS_DIRECTORY/agent.<name>.virtual-key, and its token for the MCP guard, agent.<name>.mcp-token.",
  );

/** A model server of the operator's own on the host. */
export const ModelService = z
  .strictObject({
    source: CommandRuntime.shape.source,
    argv: CommandRuntime.shape.argv,
    env: CommandRuntime.shape.env,
    health: HttpPath.nullable().describe(
      "Path on the server's own port that answers 200 when it is ready. Null: running is ready.",
    ),
    memoryMiB: z
      .number()
      .int()
      .min(64)
      .max(1_048_576)
      .describe("Most memory that it may take, MiB; beyond, it is ended and started again."),
  })
  .describe(
    "A server of OpenAI's format that runs on the host as a principal of its own, reached by the gateway alone and reaching nothing. It is given BAILIWICK_PORT, on which it must listen at 127.0.0.1; `{port}` in arguments and variables stands for it. Absent: the provider is elsewhere, or `demo`.",
  );
export type ModelService = z.infer<typeof ModelService>;

export const RuntimeSpec = z
  .discriminatedUnion("kind", [OpenClawRuntime, CommandRuntime])
  .describe("What the agent runs.");
export type RuntimeSpec = z.infer<typeof RuntimeSpec>;
export type OpenClawRuntime = z.infer<typeof OpenClawRuntime>;
export type CommandRuntime = z.infer<typeof CommandRuntime>;
