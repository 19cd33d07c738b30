import { type DestinationStream, destination, type Logger, pino, stdTimeFunctions } from "pino";

/** One request of an agent, as it is logged: one line each, without content and without tokens. */
export interface AuditLine {
  requestId: string;
  /** `agent/ops`; null if the token is nobody's. */
  principal: string | null;
  server: string | null;
  method: string | null;
  tool: string | null;
  /** sha256 of the canonical JSON of the arguments. */
  argumentsHash: string | null;
  decision: "allowed" | "refused";
  /** What decided it: a grant, or the rule that it did not pass. */
  rule: string;
  /** Admin who approved this very call. */
  approver: string | null;
  /** How an allowed request ended: `ok`, `tool-error`, `server-error`, `timeout`, `gone`, `cancelled`. */
  outcome: string | null;
  /** Of a shell's command; null for every other tool, and where none was run. */
  exitStatus: number | null;
  status: number | null;
  bytesIn: number;
  bytesOut: number;
  ms: number;
}

/** JSON lines on stdout, each written before the call returns: what was logged survives a crash. */
export function openLog(stream: DestinationStream = destination({ dest: 1, sync: true })): Logger {
  return pino(
    { base: null, timestamp: stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } },
    stream,
  );
}

/** Code of an error, safe to log: never its message, which can quote what was received. */
export function errorCode(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (typeof code === "string" && /^[A-Z0-9_]{1,64}$/.test(code)) return code;
  return error instanceof Error && /^[A-Za-z]{1,40}$/.test(error.name) ? error.name : "unknown";
}
