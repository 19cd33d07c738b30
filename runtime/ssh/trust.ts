import { type AttestationVerdict, verifyAttestation } from "./attestation.ts";
import { HostTrustError } from "./errors.ts";
import { fingerprint, type PublicKey, parseHostKey, parsePublicKey, parsePublicKeyBlob } from "./public-key.ts";

/** Which host keys a connection takes. There is no other way to trust a host. */
export type Trust = PinnedTrust | BootstrapOrAttestedTrust;

/** Exactly this key. */
export interface PinnedTrust {
  readonly kind: "pinned";
  /** `ssh-ed25519 AAAA…`. */
  readonly hostKey: string;
}

/** The one-time key of first contact, else a key that an admin's attestation vouches for. */
export interface BootstrapOrAttestedTrust {
  readonly kind: "bootstrap-or-attested";
  /** `ssh-ed25519 AAAA…`; null when that key is known to be spent, so that only an attestation counts. */
  readonly bootstrap: string | null;
  readonly attested: {
    /** Public key lines by admin name: whose attestation counts. */
    readonly admins: Readonly<Record<string, string>>;
    /** Name of the host that must be named. */
    readonly host: string;
    /** Id of the instance that must be named. */
    readonly instance: string;
  };
}

/**
 * How the host was recognised: `pinned` by the given key, `first` by the bootstrap key (rotate it now), `later` by an
 * attestation.
 */
export type Contact = "pinned" | "first" | "later";

/** Judges one connection: it is told the key, then perhaps the banner, and says when the credential may be offered. */
export class HostJudge {
  readonly #trust: Trust;
  readonly #address: string;
  readonly #pinned: PublicKey | null;
  readonly #bootstrap: PublicKey | null;
  #shown: Buffer | null = null;
  #banners = 0;
  #banner: string | null = null;
  #contact: Contact | null = null;
  #failure: HostTrustError | null = null;
  #offered = false;

  /** @throws if a key of the trust is malformed */
  constructor(trust: Trust, address: string) {
    this.#trust = trust;
    this.#address = address;
    this.#pinned = trust.kind === "pinned" ? parseHostKey(trust.hostKey) : null;
    this.#bootstrap =
      trust.kind === "bootstrap-or-attested" && trust.bootstrap !== null ? parseHostKey(trust.bootstrap) : null;
    // said now, before anything is sent, and not in the middle of a login
    if (trust.kind === "bootstrap-or-attested") Object.values(trust.attested.admins).forEach(parsePublicKey);
  }

  /** How the host was recognised; null until it was. */
  get contact(): Contact | null {
    return this.#contact;
  }

  /** Why the host was refused; null if it was not. */
  get failure(): HostTrustError | null {
    return this.#failure;
  }

  /** The key shown, `ssh-ed25519 AAAA…`; null before the key exchange. */
  get hostKey(): string | null {
    return this.#shown === null ? null : parsePublicKeyBlob(this.#shown).line;
  }

  /** Whether the credential was offered. */
  get offered(): boolean {
    return this.#offered;
  }

  /** The verifier for the key exchange. */
  verifier(): (key: Buffer) => boolean {
    return this.#pinned === null ? (key) => this.#recordHostKeyForTheLaterCheck(key) : (key) => this.#isPinned(key);
  }

  #isPinned(key: Buffer): boolean {
    if (!this.#isFirstOrSame(key)) return false;
    if (this.#pinned?.blob.equals(key)) {
      this.#contact = "pinned";
      return true;
    }
    this.#refuse(null);
    return false;
  }

  /**
   * The one verifier that takes a key it does not know: only to read the banner, which comes after the key exchange.
   * `mayOffer` judges the recorded key before any credential is offered.
   */
  #recordHostKeyForTheLaterCheck(key: Buffer): boolean {
    if (!this.#isFirstOrSame(key)) return false;
    if (this.#bootstrap?.blob.equals(key)) this.#contact = "first";
    return true;
  }

  /** Records the key. A later key exchange in the same connection must show the same one. */
  #isFirstOrSame(key: Buffer): boolean {
    if (this.#shown === null || this.#shown.equals(key)) {
      this.#shown = Buffer.from(key);
      return true;
    }
    this.#contact = null;
    this.#refuse(null, `in a second key exchange the host showed ${fingerprint(key)}; the connection was ended`);
    return false;
  }

  /** A banner came. */
  hear(banner: string): void {
    this.#banners += 1;
    this.#banner = banner;
  }

  /** Whether the credential may be offered now, once: judges the attestation if the key alone was not enough. */
  mayOffer(): boolean {
    if (this.#failure !== null || this.#offered) return false;
    this.#offered = this.#contact !== null || this.#attestationHolds();
    return this.#offered;
  }

  #attestationHolds(): boolean {
    const verdict = this.#attestation();
    if (verdict.ok) {
      this.#contact = "later";
      return true;
    }
    this.#refuse(verdict);
    return false;
  }

  #attestation(): AttestationVerdict {
    const hostKey = this.hostKey;
    if (this.#trust.kind !== "bootstrap-or-attested" || hostKey === null)
      return { ok: false, reason: "absent", detail: "none was asked for" };
    if (this.#banners > 1) return { ok: false, reason: "malformed", detail: `${this.#banners} banners came, not one` };
    return verifyAttestation(this.#banner, { ...this.#trust.attested, hostKey });
  }

  /** The host let us in before it was judged. */
  refuseEarlyWelcome(): void {
    this.#refuse(null, "the host let the user in without asking for a key, before it was checked");
  }

  #refuse(verdict: AttestationVerdict | null, problem?: string): void {
    const shown = this.#shown === null ? null : parsePublicKeyBlob(this.#shown);
    this.#failure ??= new HostTrustError({
      address: this.#address,
      shown: shown?.line ?? null,
      shownFingerprint: shown?.fingerprint ?? null,
      expected: this.#expected(),
      attestation: verdict === null || verdict.ok ? null : { reason: verdict.reason, detail: verdict.detail },
      offered: this.#offered,
      ...(problem === undefined ? {} : { problem }),
    });
  }

  #expected(): string[] {
    if (this.#trust.kind === "pinned") return [`host key ${this.#pinned?.fingerprint}`];
    const { admins, host, instance } = this.#trust.attested;
    return [
      this.#bootstrap === null
        ? "not the bootstrap key, which is spent"
        : `the bootstrap host key ${this.#bootstrap.fingerprint}`,
      `an attestation by ${Object.keys(admins).join(" or ")} for host "${host}", instance "${instance}"`,
    ];
  }
}
