/** The host could not be reached, does not speak the protocol, or the connection was lost. */
export class UnreachableError extends Error {
  override name = "UnreachableError";
}

/** The host was trusted, the credential was offered, and it was not accepted (or could not be used). */
export class AuthenticationError extends Error {
  override name = "AuthenticationError";
}

/** A command ran longer than its `timeoutMs`; it may still be running on the host. */
export class CommandTimeoutError extends Error {
  override name = "CommandTimeoutError";
}

/** A command that the kit runs on the host failed. `code` is its exit code, null when a signal ended it. */
export class RemoteCommandError extends Error {
  override name = "RemoteCommandError";
  readonly code: number | null;
  readonly stderr: string;
  constructor(what: string, result: { code: number | null; signal: string | null; stderr: string }) {
    const how = result.code === null ? `was ended by signal ${result.signal ?? "unknown"}` : `exit ${result.code}`;
    super(`${what}: ${how}: ${result.stderr.trim() || "nothing on stderr"}`);
    this.code = result.code;
    this.stderr = result.stderr;
  }
}

/** Why an attestation does not hold. */
export type AttestationProblem =
  | "absent"
  | "malformed"
  | "not-an-admin"
  | "bad-signature"
  | "other-host"
  | "other-instance"
  | "other-key";

/** What a HostTrustError is made of. */
export interface HostTrustFailure {
  /** Where the connection went: `203.0.113.7:22`. */
  readonly address: string;
  /** The key that was shown, `ssh-ed25519 AAAA…`; null when the host showed none. */
  readonly shown: string | null;
  /** Its fingerprint, `SHA256:…`. */
  readonly shownFingerprint: string | null;
  /** Everything that would have been accepted, in words. */
  readonly expected: readonly string[];
  /** Why the attestation did not hold; null when none was asked for. */
  readonly attestation: { readonly reason: AttestationProblem; readonly detail: string } | null;
  /** Whether the credential had been offered, to the key shown first, which was trusted. */
  readonly offered: boolean;
  /** Anything else that was wrong, in words. */
  readonly problem?: string;
}

/**
 * The host showed a key that nothing vouches for. No credential was offered to it (but if it changes its key in the
 * middle of a connection, when the one it had shown was trusted).
 */
export class HostTrustError extends Error implements HostTrustFailure {
  override name = "HostTrustError";
  readonly address: string;
  readonly shown: string | null;
  readonly shownFingerprint: string | null;
  readonly expected: readonly string[];
  readonly attestation: HostTrustFailure["attestation"];
  readonly offered: boolean;

  constructor(failure: HostTrustFailure) {
    super(describe(failure));
    this.address = failure.address;
    this.shown = failure.shown;
    this.shownFingerprint = failure.shownFingerprint;
    this.expected = failure.expected;
    this.attestation = failure.attestation;
    this.offered = failure.offered;
  }
}

function describe(failure: HostTrustFailure): string {
  const shown = failure.shownFingerprint ?? "none";
  return [
    `${failure.address} is not trusted${failure.offered ? "" : "; no credential was offered"}`,
    `shown: host key ${shown}`,
    `expected: ${failure.expected.join(", or ")}`,
    ...(failure.problem === undefined ? [] : [`problem: ${failure.problem}`]),
    ...(failure.attestation === null
      ? []
      : [`attestation: ${failure.attestation.reason}: ${failure.attestation.detail}`]),
    `compare: on the machine's own console \`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub\` prints its real key; if that is not ${shown}, another machine answers at this address`,
  ].join("\n");
}
