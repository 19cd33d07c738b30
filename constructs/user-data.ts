import { Lazy } from "cdktf";
import { baselineDigest, renderUserData } from "../cloud-init/baseline.ts";
import type { Access } from "./access.ts";
import type { Machine } from "./machines/machine.ts";

/** What first boot is made from: decided at synth, and the same for every other part of the spec. */
export interface FirstBoot {
  /** Digest of the baseline that first boot applies. */
  readonly digest: string;
  /**
   * User data with placeholders for the one-time host key; empty for a machine that has a host key already, and is given
   * the same by SSH.
   */
  readonly userData: string;
}

/** First boot of a host; nothing, while the first admin's key is missing and no plan can succeed. */
export function firstBoot(host: string, access: Access, { os, dataDevice, hostKey }: Machine): FirstBoot {
  const [admin] = access.admins;
  if (admin === undefined || !("text" in admin.key)) return { digest: "0".repeat(64), userData: "" };
  const input = { host, os, admin: { name: admin.name, uid: admin.uid, publicKey: admin.key.text }, dataDevice };
  return { digest: baselineDigest(input), userData: hostKey === undefined ? renderUserData(input) : "" };
}

/**
 * User data as a machine gives it to its resource: cdktf searches it for tokens once, and not a second time for references to
 * other stacks. Of those it may hold none that the machine's other resources do not hold as well.
 */
export function searchedOnce(userData: string): string {
  return Lazy.stringValue({ produce: ({ preparing }) => (preparing ? "" : userData) });
}
