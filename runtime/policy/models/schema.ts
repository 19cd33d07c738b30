import { z } from "zod";

/** The wire formats the gateway passes through; it never translates one into another. */
export const ProviderKind = z.enum(["anthropic", "openai", "openai-compatible", "openrouter", "google", "demo"]);
export type ProviderKind = z.infer<typeof ProviderKind>;

export const ModelId = z
  .string()
  .min(1)
  .max(128)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._:/@-]*$/, "must be a model id as the provider writes it, such as claude-sonnet-4-6");

export const InvokeGrant = z
  .strictObject({
    agent: z.string().describe("Name of the agent that may call."),
    model: z.string().describe("Name of the model provider on this host."),
    models: z.array(ModelId).min(1).describe("Model ids the agent may ask for; any other is refused by the gateway."),
  })
  .describe("One agent may call some models of one provider through the gateway, with a virtual key of its own.");
export type InvokeGrant = z.infer<typeof InvokeGrant>;

/** A virtual key as the gateway knows it: only its hash, never its text. */
const VirtualKey = z.strictObject({
  agent: z.string().describe("The agent this key belongs to."),
  sha256: z
    .array(z.string().regex(/^[0-9a-f]{64}$/))
    .min(1)
    .max(2)
    .describe("Hex sha256 of each valid key text; two during rotation."),
});

const GatewayRoute = z.strictObject({
  name: z.string().describe("First segment of the path: `/<name>/v1/…`."),
  provider: ProviderKind,
  upstream: z.string().describe("Origin (and path prefix, if any) of the provider: `https://api.anthropic.com`."),
  credential: z
    .string()
    .nullable()
    .describe("File below $CREDENTIALS_DIRECTORY with the provider's key; null if it needs none."),
  grants: z.array(z.strictObject({ agent: z.string(), models: z.array(ModelId).min(1) })),
});

/** The gateway's whole configuration file; nothing else configures it but `$CREDENTIALS_DIRECTORY`. */
export const GatewayConfig = z.strictObject({
  listen: z.strictObject({ host: z.literal("127.0.0.1"), port: z.number().int() }),
  keys: z.array(VirtualKey),
  routes: z.array(GatewayRoute),
  limits: z.strictObject({
    bodyBytes: z.number().int().describe("Largest request body accepted, bytes; larger is 413."),
    headerTimeoutMs: z.number().int().describe("Longest wait for the provider's response headers, ms; then 504."),
    idleTimeoutMs: z.number().int().describe("Longest silence within a response body, ms; then the stream is cut."),
  }),
});
export type GatewayConfig = z.infer<typeof GatewayConfig>;

/** Default bounds of the gateway; a streamed answer may take long, silence may not. */
export const GATEWAY_LIMITS: GatewayConfig["limits"] = {
  bodyBytes: 8 * 1024 * 1024,
  headerTimeoutMs: 60_000,
  idleTimeoutMs: 60_000,
};

export const ModelProviderSpec = z
  .strictObject({
    provider: ProviderKind.describe(
      "Wire format and kind of provider: `anthropic`, `openai`, `google` (Gemini), `openrouter`, `openai-compatible` (any server of OpenAI's format, by URL), or `demo` (a scripted stand-in on the host that says it is one).",
    ),
    url: z
      .string()
      .regex(
        /^https:\/\/[a-z0-9.-]+(:443)?(\/[A-Za-z0-9._~/-]*)?$/,
        "must be an https:// URL of an exact name, port 443",
      )
      .refine(
        (url) => !/\/v1\/?$/.test(url),
        "must be what stands before /v1 (agents ask for /v1/…); leave out the /v1",
      )
      .nullable()
      .describe("Origin of the provider's API. Null for `demo`, which runs on the host."),
    apiKey: z.string().nullable().describe("Name of the secret that holds the provider's key; null for `demo`."),
  })
  .describe("A model provider. Only the gateway holds its key and only the gateway reaches it.");
export type ModelProviderSpec = z.infer<typeof ModelProviderSpec>;
