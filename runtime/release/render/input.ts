import type { HostSpec } from "../../spec/host-spec.ts";
import type { ReleaseFile, ReleaseManifest } from "../../spec/manifest.ts";

/** Everything a release is made of. Nothing else enters it: equal inputs give equal bytes. */
export interface ReleaseInput {
  /** With its bindings resolved. */
  readonly spec: HostSpec;
  readonly kitVersion: string;
  /** Digest of each component in `requiredComponents(spec)`; others are left out of the release. */
  readonly components: Readonly<Record<string, string>>;
  /** Version of each sealed secret, by credential name: `secret.<name>`. */
  readonly credentials: Readonly<Record<string, string>>;
  /**
   * Credentials made on the host, by name: their version, the hex sha256 of their text, and while they are renewed that of
   * the text before.
   */
  readonly generated: Readonly<
    Record<string, { readonly version: string; readonly sha256: string; readonly previous?: string | undefined }>
  >;
  /** Addresses of the host's upstream DNS resolvers. */
  readonly resolvers: readonly string[];
  /** Whether the host has a way to IPv6 and none to IPv4. */
  readonly ipv6Only: boolean;
  /** Whether every instruction of the host is translated, so that OpenClaw needs longer than it gives itself. */
  readonly emulated: boolean;
}

export interface Release {
  /** sha256 over path, mode and content of all files but manifest.json. */
  readonly digest: string;
  /** All files, manifest.json among them, sorted by path. */
  readonly files: ReleaseFile[];
  readonly manifest: ReleaseManifest;
}

/** A sealed credential as a unit loads it. */
export interface Credential {
  readonly name: string;
  readonly version: string;
  /** Path on the host. */
  readonly file: string;
}
