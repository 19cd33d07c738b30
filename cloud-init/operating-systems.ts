import type { OperatingSystem } from "../runtime/spec/operating-system.ts";

/** What differs between operating systems, as far as the baseline is concerned. */
interface Differences {
  /** Fields that the security archive signs its packages with, as unattended-upgrades takes them. */
  readonly security: Readonly<Record<"origin" | "label", string>> &
    Readonly<Record<"codename" | "archive", string | null>>;
  /** Whether its sshd knows mlkem768x25519-sha256, which came with OpenSSH 9.9: older ones refuse to start with it. */
  readonly mlkem: boolean;
  /**
   * Whether it carries the program that closes a machine which has no nft yet. Ubuntu's server images have nft, and its
   * user data has no room besides what stands in for owned tables: without nft its first boot fails, and fetches nothing.
   */
  readonly firstTable: boolean;
}

/** Everything else is the same for all of them, or is tried on the machine itself. */
export const OPERATING_SYSTEMS: Readonly<Record<OperatingSystem, Differences>> = {
  // OpenSSH 9.2, systemd 252
  "debian-12": { security: debian("bookworm"), mlkem: false, firstTable: true },
  // OpenSSH 10.0, systemd 257
  "debian-13": { security: debian("trixie"), mlkem: true, firstTable: true },
  // OpenSSH 9.6, systemd 255
  "ubuntu-24.04": {
    security: { origin: "Ubuntu", codename: null, archive: "noble-security", label: "Ubuntu" },
    mlkem: false,
    firstTable: false,
  },
};

function debian(codename: string): Differences["security"] {
  return { origin: "Debian", codename: `${codename}-security`, archive: null, label: "Debian-Security" };
}
