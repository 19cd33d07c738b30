import { baselineDigest, renderUserData } from "../cloud-init/baseline.ts";
import type { HostSpec } from "../runtime/spec/host-spec.ts";
import type { Access } from "./access.ts";

/** What first boot is made from: decided at synth, and the same for every other part of the spec. */
export interface FirstBoot {
  /** Digest of the baseline that first boot applies. */
  readonly digest: string;
  /** User data with placeholders for the one-time host key. */
  readonly userData: string;
}

/** First boot of a host; nothing, while the first admin's key is missing and no plan can succeed. */
export function firstBoot(host: string, os: HostSpec["os"], access: Access, dataDevice: string): FirstBoot {
  const [admin] = access.admins;
  if (admin === undefined || !("text" in admin.key)) return { digest: "0".repeat(64), userData: "" };
  const input = { host, os, admin: { name: admin.name, uid: admin.uid, publicKey: admin.key.text }, dataDevice };
  return { digest: baselineDigest(input), userData: renderUserData(input) };
}
