import type { ServerResponse } from "node:http";
import type { ProviderKind } from "../../policy/models/schema.ts";

/** Wire formats an error can be written in. */
export type WireFormat = "openai" | "anthropic" | "google";

/** Why the gateway itself answered instead of the provider. Stands in the log as `reason` and, in OpenAI's format, as `code`. */
export type RefusalCode =
  | "malformed_request"
  | "invalid_api_key"
  | "no_grant"
  | "model_not_found"
  | "unpriceable"
  | "budget_exceeded"
  | "ledger_unavailable"
  | "rate_limited"
  | "upstream_down"
  | "not_found"
  | "body_too_large"
  | "no_room"
  | "unsupported_media_type"
  | "upstream_redirect"
  | "upstream_unreachable"
  | "upstream_timeout"
  | "internal_error";

/** An answer of the gateway's own; `message` says what was received and what to do, and holds no content and no key. */
export interface Refusal {
  readonly status: number;
  readonly code: RefusalCode;
  readonly message: string;
  /** When it is worth trying again, ms since 1970; clients are told not to try before. */
  readonly retryAt?: number;
}

/** Thrown by a step of a call that decides against it. */
export class Refused extends Error {
  readonly refusal: Refusal;
  constructor(status: number, code: RefusalCode, message: string, retryAt?: number) {
    super(code);
    this.refusal = { status, code, message, ...(retryAt === undefined ? {} : { retryAt }) };
  }
}

/** The format in which clients of a provider expect errors. */
export function wireFormat(provider: ProviderKind): WireFormat {
  return provider === "anthropic" || provider === "google" ? provider : "openai";
}

/** Anthropic's error types by status; its clients tell errors apart by them. */
const ANTHROPIC_TYPES: Readonly<Record<number, string>> = {
  400: "invalid_request_error",
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  413: "request_too_large",
  415: "invalid_request_error",
  429: "rate_limit_error",
  503: "overloaded_error",
  504: "timeout_error",
};

/** Google's names of its canonical codes by HTTP status. */
const GOOGLE_STATUS: Readonly<Record<number, string>> = {
  400: "INVALID_ARGUMENT",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "NOT_FOUND",
  413: "INVALID_ARGUMENT",
  415: "INVALID_ARGUMENT",
  429: "RESOURCE_EXHAUSTED",
  500: "INTERNAL",
  502: "UNAVAILABLE",
  503: "UNAVAILABLE",
  504: "DEADLINE_EXCEEDED",
};

/** The refusal as the JSON document a client of that format expects. */
function refusalBody(format: WireFormat, refusal: Refusal, requestId: string): string {
  const message = `bailiwick gateway: ${refusal.message}`;
  if (format === "anthropic")
    return JSON.stringify({
      type: "error",
      error: { type: ANTHROPIC_TYPES[refusal.status] ?? "api_error", message },
      request_id: requestId,
    });
  if (format === "google")
    return JSON.stringify({
      error: {
        code: refusal.status,
        message,
        status: GOOGLE_STATUS[refusal.status] ?? "UNKNOWN",
        details:
          refusal.retryAt === undefined
            ? []
            : [
                {
                  "@type": "type.googleapis.com/google.rpc.RetryInfo",
                  retryDelay: `${secondsUntil(refusal.retryAt)}s`,
                },
              ],
      },
    });
  return JSON.stringify({
    error: {
      message,
      type: openaiType(refusal),
      param: refusal.code === "model_not_found" ? "model" : null,
      code: refusal.code,
    },
  });
}

/** Answers with the refusal; returns the number of body bytes. A body still arriving is read off and forgotten. */
export function sendRefusal(res: ServerResponse, format: WireFormat, refusal: Refusal, requestId: string): number {
  // official clients try a 429 again by themselves unless they are told not to
  const retry =
    refusal.retryAt === undefined
      ? {}
      : {
          "retry-after": String(secondsUntil(refusal.retryAt)),
          "x-should-retry": String(refusal.code !== "budget_exceeded"),
        };
  return sendJson(res, refusal.status, refusalBody(format, refusal, requestId), requestId, retry);
}

function openaiType({ status, code }: Refusal): string {
  if (status >= 500) return "server_error";
  if (code === "budget_exceeded") return "insufficient_quota";
  return status === 429 ? "rate_limit_error" : "invalid_request_error";
}

function secondsUntil(at: number): number {
  return Math.max(1, Math.ceil((at - Date.now()) / 1000));
}

/** Answers with a JSON document of the gateway's own; returns the number of body bytes. */
export function sendJson(
  res: ServerResponse,
  status: number,
  json: string,
  requestId: string,
  headers: Readonly<Record<string, string>> = {},
): number {
  const body = Buffer.from(json);
  res.writeHead(status, {
    "content-type": "application/json",
    "content-length": body.length,
    "x-bailiwick-request-id": requestId,
    ...headers,
  });
  res.end(body);
  return body.length;
}
