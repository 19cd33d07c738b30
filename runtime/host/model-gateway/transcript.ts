/** Bytes of one body that are logged at most: a line of the journal holds 48 KiB, and JSON may double what it quotes. */
const LOGGED_BYTES = 8 * 1024;
/** Read beyond that, so that a secret which the limit cuts in two is known as one. */
const MARGIN_BYTES = 1024;

const REDACTED = "[redacted]";

/** What looks like a secret, and what stands in its place. Each is bounded, so that no text takes long. */
const PATTERNS: readonly [RegExp, string][] = [
  [/-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|$)/g, REDACTED],
  [
    /\b(?:sk-|[sr]k_live_|gh[poshu]_|github_pat_|glpat-|xox[abps]-|xapp-|AKIA|ASIA|AIza|ya29\.|hf_|npm_|AGE-SECRET-KEY-)[A-Za-z0-9_.-]{8,512}/g,
    REDACTED,
  ],
  [/\beyJ[A-Za-z0-9_-]{8,2048}\.[A-Za-z0-9_-]{1,4096}\.[A-Za-z0-9_-]{0,1024}/g, REDACTED],
  [/\b(bearer|basic)\s{1,3}[A-Za-z0-9._~+/=-]{8,4096}/gi, `$1 ${REDACTED}`],
  [/\b([a-z][a-z0-9+.-]{0,30}:\/\/)[^/\s?#@"\\]{1,256}@/gi, `$1${REDACTED}@`],
  // in JSON, and in JSON that is quoted in JSON
  [
    /(\\?"(?:password|passwd|passphrase|secret|token|access_token|refresh_token|api_?key|authorization)\\?"\s{0,3}:\s{0,3}\\?")(?:[^"\\]|\\[^"]){1,4096}/gi,
    `$1${REDACTED}`,
  ],
];

/** One body as it is logged. */
export interface LoggedText {
  readonly text: string;
  /** Bytes of the whole body. */
  readonly bytes: number;
  readonly truncated: boolean;
}

/** Keeps the beginning of a body, to be logged redacted. */
export class Transcript {
  readonly #chunks: Buffer[] = [];
  #kept = 0;
  #bytes = 0;

  push(chunk: Buffer): void {
    this.#bytes += chunk.length;
    const room = LOGGED_BYTES + MARGIN_BYTES - this.#kept;
    if (room <= 0) return;
    // a copy: a part of a chunk would keep all of it
    const kept = Buffer.from(chunk.subarray(0, room));
    this.#chunks.push(kept);
    this.#kept += kept.length;
  }

  /** @param secrets values that may not be logged wherever they stand */
  read(secrets: readonly string[]): LoggedText {
    const whole = redact(Buffer.concat(this.#chunks).toString("utf8"), secrets);
    const truncated = this.#bytes > this.#kept || whole.length > LOGGED_BYTES;
    return { text: truncated ? whole.slice(0, LOGGED_BYTES) : whole, bytes: this.#bytes, truncated };
  }
}

/** The text without the secrets given, and without what looks like one. A net for accidents, no proof. */
export function redact(text: string, secrets: readonly string[]): string {
  let left = text;
  for (const secret of secrets) left = left.replaceAll(secret, REDACTED);
  for (const [pattern, instead] of PATTERNS) left = left.replace(pattern, instead);
  return left;
}
