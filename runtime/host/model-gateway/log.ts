import { type DestinationStream, destination, type Logger, pino, stdTimeFunctions } from "pino";
import type { RefusalCode } from "./refusal.ts";

/**
 * How a call ended: `ok` (the provider's answer was passed on whole, whatever its status), `refused` (the gateway
 * answered itself; `reason` says why), or the answer was cut: `client_gone`, `client_stalled` (did not read for
 * idleTimeoutMs), `upstream_cut` (the provider broke off), `upstream_idle` (it was silent for idleTimeoutMs),
 * `key_in_response` (the answer held the provider's key), `shutdown`.
 */
export type Outcome =
  | "ok"
  | "refused"
  | "client_gone"
  | "client_stalled"
  | "upstream_cut"
  | "upstream_idle"
  | "key_in_response"
  | "shutdown";

/** One call, as it is logged: one line each, without content and without keys. */
export interface CallLine {
  requestId: string;
  agent: string | null;
  /** The first hex digits of the hash of the virtual key, which tell the two of a rotation apart. */
  keyId: string | null;
  route: string | null;
  /** The endpoint's path, `/v1/messages`; null if the request named none that exists. */
  endpoint: string | null;
  /** The model asked for; null if none was named or what was named does not look like a model id. */
  model: string | null;
  /** Status sent to the client; null if it went before one was sent. */
  status: number | null;
  outcome: Outcome;
  reason: RefusalCode | null;
  /** Whether the answer was a stream of events. */
  stream: boolean;
  /** Body bytes received and sent. */
  bytesIn: number;
  bytesOut: number;
  /** From the request's headers to the first body byte sent on, ms; null if there was none from the provider. */
  msToFirstByte: number | null;
  /** From the request's headers to the end, ms. */
  ms: number;
  upstreamRequestId: string | null;
  /** Requests sent or tried to send; 0 if none was. */
  attempts: number;
  /** The provider asked last; another than `route` if that one failed. Null if none was asked. */
  servedBy: string | null;
  /** As the provider counted them, cached ones among the input; null if it did not say. */
  inputTokens: number | null;
  outputTokens: number | null;
  /** What was booked; null if no price is known or the provider did not say what it used. */
  usd: number | null;
  /** True if the most the call could cost was booked, since its usage is not known. */
  usdIsReserved: boolean;
  /** What was changed in the body that went up, `max_tokens=16384`. */
  changed: readonly string[];
  /** Code of the error below, `ECONNREFUSED`; absent when there was none. */
  error?: string;
}

/** JSON lines, on stdout if nowhere else. */
export function openLog(stream: DestinationStream = turnByTurn()): Logger {
  return pino(
    { base: null, timestamp: stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } },
    stream,
  );
}

/** Lines that wait for the end of a turn are written at once when there are so many characters of them. */
const WAITING = 8 * 1024;

/**
 * Stdout, written to once per turn of the event loop and when the process ends, exceptions included: what calls that end
 * together have to say costs one system call. Only a kill in the middle of a turn loses that turn's lines.
 */
function turnByTurn(): DestinationStream {
  const out = destination({ dest: 1, sync: true });
  let lines = "";
  const flush = () => {
    if (lines === "") return;
    out.write(lines);
    lines = "";
  };
  process.on("exit", flush);
  return {
    write: (line) => {
      if (lines === "") setImmediate(flush);
      lines += line;
      if (lines.length > WAITING) flush();
    },
  };
}

/** Writes the line of one call; a warning unless it ended as it should. */
export function logCall(log: Logger, line: CallLine): void {
  if (line.outcome === "ok" || line.outcome === "client_gone") log.info(line, "call");
  else log.warn(line, "call");
}

/** Code of an error, safe to log: never its message, which can quote what was received. */
export function errorCode(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (typeof code === "string" && /^[A-Z0-9_]{1,64}$/.test(code)) return code;
  return error instanceof Error && /^[A-Za-z]{1,40}$/.test(error.name) ? error.name : "unknown";
}
