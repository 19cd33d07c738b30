import { isIP } from "node:net";
import * as z from "zod";
import { GrantableAddress, isPrivateAddress } from "../egress/schema.ts";

/** The wire formats the gateway passes through; it never translates one into another. */
export const ProviderKind = z.enum(["anthropic", "openai", "openai-compatible", "openrouter", "google", "demo"]);
export type ProviderKind = z.infer<typeof ProviderKind>;

export const ModelId = z
  .string()
  .min(1)
  .max(128)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._:/@-]*$/, "must be a model id as the provider writes it, such as claude-sonnet-4-6");

const Usd = z.number().positive().max(1_000_000);
const PerToken = z.number().min(0).max(100_000);

const Rates = {
  input: PerToken.describe("USD per million input tokens."),
  output: PerToken.describe("USD per million output tokens, reasoning among them."),
  cacheRead: PerToken.describe("USD per million input tokens read from the provider's cache."),
  cacheWrite: PerToken.describe("USD per million input tokens written to the provider's cache."),
  cacheWrite1h: PerToken.describe("USD per million input tokens written to the provider's cache for an hour."),
};

/** What a model costs. */
export const ModelPrice = z
  .strictObject({
    ...Rates,
    above: z
      .strictObject({ inputTokens: z.number().int().positive(), ...Rates })
      .nullable()
      .describe("Prices of a call with more input tokens than this; null where the price does not depend on it."),
    contextTokens: z
      .number()
      .int()
      .positive()
      .max(100_000_000)
      .describe(
        "Most input tokens that the model takes: what is reserved for input whose tokens cannot be bounded by its bytes.",
      ),
  })
  .describe("What a model costs.");
export type ModelPrice = z.infer<typeof ModelPrice>;

/** Caps on spending; null is no cap. */
export const Budget = z.strictObject({
  usdPerDay: Usd.nullable().describe("Most that may be spent in a calendar day, USD; null for no cap."),
  usdPerMonth: Usd.nullable().describe("Most that may be spent in a calendar month, USD; null for no cap."),
});
export type Budget = z.infer<typeof Budget>;

export const NO_BUDGET: Budget = { usdPerDay: null, usdPerMonth: null };

/** True if some cap is set. */
export function isCapped({ usdPerDay, usdPerMonth }: Budget): boolean {
  return usdPerDay !== null || usdPerMonth !== null;
}

/** How much an agent may ask of a provider; null is no limit. */
export const CallLimits = z.strictObject({
  requestsPerMinute: z
    .number()
    .int()
    .positive()
    .max(100_000)
    .nullable()
    .describe("Most calls per minute, that many at once too; null for no limit."),
  tokensPerMinute: z
    .number()
    .int()
    .positive()
    .max(1_000_000_000)
    .nullable()
    .describe("Most tokens per minute, counted when a call has ended; null for no limit."),
  concurrentCalls: z
    .number()
    .int()
    .positive()
    .max(1000)
    .nullable()
    .describe("Most calls under way at once, streams among them; null for no limit."),
});
export type CallLimits = z.infer<typeof CallLimits>;

export const NO_LIMITS: CallLimits = { requestsPerMinute: null, tokensPerMinute: null, concurrentCalls: null };

export const TimeZone = z
  .string()
  .refine(isTimeZone, "must be a time zone of the IANA database, such as Europe/Berlin or UTC")
  .describe("Time zone, by its IANA name, in which the days and months of all budgets of the host begin.");

// Asking costs most of a millisecond, and a fleet's hosts all ask the same.
const zones = new Map<string, boolean>();

function isTimeZone(name: string): boolean {
  const known = zones.get(name);
  if (known !== undefined) return known;
  const holds = isZoneOfIntl(name);
  zones.set(name, holds);
  return holds;
}

function isZoneOfIntl(name: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }) !== undefined && !/^[+-]/.test(name);
  } catch {
    return false;
  }
}

export const InvokeGrant = z
  .strictObject({
    agent: z.string().describe("Name of the agent that may call."),
    model: z.string().describe("Name of the model provider on this host."),
    models: z.array(ModelId).min(1).describe("Model ids the agent may ask for; any other is refused by the gateway."),
    budget: Budget.describe("What the agent may spend with this provider."),
    limits: CallLimits.describe("How much the agent may ask of this provider."),
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
  grants: z.array(z.strictObject({ agent: z.string(), models: z.array(ModelId).min(1), limits: CallLimits })),
  fallback: z
    .string()
    .nullable()
    .describe("Route of the same wire format that is asked when this one fails before its first byte; null for none."),
  prices: z.record(ModelId, ModelPrice).describe("Prices by model id; a model without one is refused under a budget."),
  logContent: z
    .boolean()
    .default(false)
    .describe("Whether the beginning of what is asked and answered is logged, redacted."),
});

/** The gateway's whole configuration file; nothing else configures it but `$CREDENTIALS_DIRECTORY`. */
export const GatewayConfig = z.strictObject({
  listen: z.strictObject({
    host: z.literal("127.0.0.1"),
    port: z.number().int(),
    adminPort: z.number().int().describe("Port of metrics and spending, to read alone; root's by the firewall."),
  }),
  keys: z.array(VirtualKey),
  routes: z.array(GatewayRoute),
  budgets: z.strictObject({
    timeZone: TimeZone,
    ledger: z.string().describe("File of what was spent and promised; the gateway's alone."),
    maxOutputTokens: z
      .number()
      .int()
      .describe("Most output tokens of one call under a budget: set where the client sets none, and in place of more."),
    caps: z.array(
      z.strictObject({
        scope: z
          .string()
          .regex(/^(host|(agent|model)\/[a-z0-9-]+|grant\/[a-z0-9-]+\/[a-z0-9-]+)$/)
          .describe("Whose spending: `host`, `agent/<name>`, `model/<name>`, `grant/<agent>/<model>`."),
        ...Budget.shape,
      }),
    ),
  }),
  limits: z.strictObject({
    bodyBytes: z.number().int().describe("Largest request body accepted, bytes; larger is 413."),
    bufferedBytes: z
      .number()
      .int()
      .describe("Most bytes of request bodies held at once, of all calls; one agent has at most half. Beyond is 503."),
    headerTimeoutMs: z.number().int().describe("Longest wait for the provider's response headers, ms; then 504."),
    idleTimeoutMs: z.number().int().describe("Longest silence within a response body, ms; then the stream is cut."),
  }),
});
export type GatewayConfig = z.infer<typeof GatewayConfig>;

/** Default bounds of the gateway; a streamed answer may take long, silence may not. */
export const GATEWAY_LIMITS: GatewayConfig["limits"] = {
  bodyBytes: 8 * 1024 * 1024,
  // of the 512 MiB that its unit may have
  bufferedBytes: 128 * 1024 * 1024,
  headerTimeoutMs: 60_000,
  idleTimeoutMs: 60_000,
};

/** Most output tokens of one call under a budget: a call must be paid for in advance by the most it could cost. */
export const MAX_OUTPUT_TOKENS = 16_384;

const PROVIDER_URL = /^(https?):\/\/([a-z0-9.-]+|\[[0-9a-f:]+\])(?::(\d{1,5}))?((?:\/[A-Za-z0-9._~-]+)*)\/?$/;
const BY_NAME = "must be an https:// URL of an exact name, port 443, or one of an address such as http://10.0.0.5:8000";

/**
 * Why a text is no URL of a provider; undefined if it is one. By name it is https on port 443; by address any port, and
 * plain http on private networks alone. Of one spelling only: what `new URL` would repair is refused.
 */
export function providerUrlProblem(text: string): string | undefined {
  const [, scheme, written = "", port = "", path = ""] = PROVIDER_URL.exec(text) ?? [];
  if (scheme === undefined || !URL.canParse(text)) return BY_NAME;
  const host = written.replace(/^\[|\]$/g, "");
  if (new URL(text).hostname !== written) return BY_NAME;
  if (path.split("/").some((segment) => segment === "." || segment === "..")) return "the path may hold no . or ..";
  if (isIP(host) === 0) return scheme === "https" && (port === "" || port === "443") ? undefined : BY_NAME;
  if (Number(port || 1) > 65535 || port === "0") return "the port must be 1 to 65535";
  const address = GrantableAddress.safeParse(host);
  if (!address.success) return `its address ${address.error.issues[0]?.message}`;
  if (scheme === "http" && !isPrivateAddress(host))
    return "http:// to an address that is not private would show keys and content on the way; use https://";
  return undefined;
}

export const ModelProviderSpec = z
  .strictObject({
    provider: ProviderKind.describe(
      "Wire format and kind of provider: `anthropic`, `openai`, `google` (Gemini), `openrouter`, `openai-compatible` (any server of OpenAI's format, by URL), or `demo` (a scripted stand-in on the host that says it is one).",
    ),
    url: z
      .string()
      .superRefine((url, ctx) => {
        const problem = providerUrlProblem(url);
        if (problem !== undefined) ctx.addIssue({ code: "custom", message: problem, continue: false });
      })
      .refine(
        (url) => !/\/v1\/?$/.test(url),
        "must be what stands before /v1 (agents ask for /v1/…); leave out the /v1",
      )
      .nullable()
      .describe(
        "Origin of the provider's API: an https:// URL by name, or one by address, which the gateway alone then reaches. Null for what runs on the host: `demo`, or a `service`.",
      ),
    apiKey: z
      .string()
      .nullable()
      .describe("Name of the secret that holds the provider's key; null for what runs on the host, or asks for none."),
    prices: z
      .record(ModelId, ModelPrice)
      .describe("Prices of the granted models by id, as they were known at synth or set by the operator."),
    budget: Budget.describe("What all agents together may spend with this provider."),
    fallback: z
      .string()
      .nullable()
      .describe(
        "Name of the provider of the same wire format that is asked when this one cannot be reached or answers 429 or 5xx; null for none. Its agents must be granted the same models there.",
      ),
    logContent: z
      .boolean()
      .optional()
      .describe(
        "Whether the gateway logs the first 8 KiB of each question and answer, without what looks like a secret. Absent: no content is logged.",
      ),
  })
  .describe("A model provider. Only the gateway holds its key and only the gateway reaches it.");
export type ModelProviderSpec = z.infer<typeof ModelProviderSpec>;
