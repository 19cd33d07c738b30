import type { IncomingHttpHeaders, OutgoingHttpHeaders } from "node:http";
import type { ProviderKind } from "../../policy/models/schema.ts";

const PRINTABLE = /^[\x20-\x7e]*$/;

/**
 * Request headers that are passed on; every other is dropped. Not here, on purpose: anything that authenticates,
 * cookies, `openai-organization` and `openai-project` (who is billed is the operator's choice), and `idempotency-key`
 * (all agents share the provider's key, so one could be given the answer of another).
 */
const REQUEST_HEADERS = ["accept", "anthropic-version", "anthropic-beta", "openai-beta"] as const;

/** Response headers that are passed on, by name or by beginning of the name. */
const RESPONSE_HEADERS = new Set([
  "content-type",
  "content-length",
  "content-encoding",
  "cache-control",
  "request-id",
  "x-request-id",
  "retry-after",
  "retry-after-ms",
  "x-should-retry",
  "openai-processing-ms",
  "openai-version",
  "openai-model",
]);
const RESPONSE_HEADER_BEGINNINGS = ["x-ratelimit-", "anthropic-ratelimit-"];

/**
 * Headers of the request to the provider, as undici takes them: the allowed ones of the client, ours, and the
 * provider's key in the provider's own way. Undefined if an allowed header holds anything but printable ASCII.
 */
export function requestHeaders(
  provider: ProviderKind,
  key: string | null,
  client: IncomingHttpHeaders,
): string[] | undefined {
  const headers = [
    "content-type",
    "application/json",
    "accept-encoding",
    "identity",
    "user-agent",
    "bailiwick-model-gateway",
  ];
  for (const name of REQUEST_HEADERS) {
    const value = client[name];
    if (value === undefined) continue;
    const text = Array.isArray(value) ? value.join(", ") : value;
    if (!PRINTABLE.test(text)) return undefined;
    headers.push(name, text);
  }
  if (key !== null) {
    if (provider === "anthropic") headers.push("x-api-key", key);
    else if (provider === "google") headers.push("x-goog-api-key", key);
    else headers.push("authorization", `Bearer ${key}`);
  }
  return headers;
}

/** The allowed headers of a provider's response; one whose value holds the provider's key is dropped whatever its name. */
export function responseHeaders(
  upstream: Readonly<Record<string, string | string[] | undefined>>,
  key: string | null,
): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = {};
  for (const [name, value] of Object.entries(upstream)) {
    if (value === undefined) continue;
    if (!RESPONSE_HEADERS.has(name) && !RESPONSE_HEADER_BEGINNINGS.some((b) => name.startsWith(b))) continue;
    const text = Array.isArray(value) ? value.join(", ") : value;
    if (!PRINTABLE.test(text) || (key !== null && text.includes(key))) continue;
    headers[name] = text;
  }
  return headers;
}

/** The provider's id of the request, for the log; null if there is none or it does not look like one. */
export function upstreamRequestId(passed: OutgoingHttpHeaders): string | null {
  const id = passed["request-id"] ?? passed["x-request-id"];
  return typeof id === "string" && /^[A-Za-z0-9._:-]{1,128}$/.test(id) ? id : null;
}
