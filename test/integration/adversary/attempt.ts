/**
 * Who shows that an attempt can succeed at all, on the same host at the same time: a plain user whom no sandbox and no rule
 * holds, or root, for what every plain user is refused as well.
 */
type Control = "user" | "root";

/** One thing that a principal which was taken over tries. */
export interface Attempt {
  /** What it tries, as the end of "an agent cannot …". */
  readonly name: string;
  /** What stops it. */
  readonly stoppedBy: string;
  /** What it then meets: an attempt that fails for another reason has tried nothing. */
  readonly meets: RegExp;
  /** Python, with what run.py offers; it succeeds by reaching its end. `E` holds facts of the host. */
  readonly code: string;
  readonly control: Control;
  /** What the control does in its place, where that differs. @default the same */
  readonly controlCode?: string;
  /** A line that the log then has of it, by the proxy or the guard. */
  readonly logged?: RegExp;
}

/** What a firewall's refusal looks like to whom it refuses. */
export const REFUSED = /^(ECONNREFUSED|EPERM|EACCES|EHOSTUNREACH|ECONNRESET)/;
/** What the proxy's refusal looks like: the connection ends before the handshake. */
export const TURNED_AWAY = /^(TLS: |ECONNRESET|closed without a word|EPIPE)/;
/** A call that the filter of system calls refuses. */
export const FILTERED = /^(EPERM|ENOSYS)/;
/** A place that the sandbox does not show, or not for writing. */
export const ABSENT = /^(ENOENT|EACCES|EPERM|EROFS)/;
