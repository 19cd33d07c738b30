import { createHash } from "node:crypto";
import type { HostSpec } from "../../spec/host-spec.ts";
import { byName } from "../egress/principals.ts";
import { workspacePath } from "./mounts.ts";

/** A workspace with a quota, as the file system knows it. */
interface WorkspaceQuota {
  readonly path: string;
  /** XFS project that everything in it belongs to. */
  readonly project: number;
  readonly mib: number;
}

/** The workspaces of a host that have a quota, by name. */
export function workspaceQuotas(spec: HostSpec): WorkspaceQuota[] {
  return byName(spec.workspaces).flatMap(([name, { quotaMiB }]) =>
    quotaMiB === undefined ? [] : [{ path: workspacePath(name), project: projectOf(name), mib: quotaMiB }],
  );
}

/**
 * What an operator must know of a host's quotas before a push makes them.
 * @param projectQuotas as the host's facts tell it
 */
export function quotaNotice(spec: HostSpec, projectQuotas: "on" | "off" | "none" | undefined): string | null {
  if (workspaceQuotas(spec).length === 0) return null;
  if (projectQuotas === "off")
    return "the data volume is mounted anew for quotas of workspaces: every unit stops meanwhile";
  return projectQuotas === "none"
    ? "quotas of workspaces are not enforced: the host's kernel has no project quotas of XFS"
    : null;
}

/** Hashed from the name, 1 to 2^31 - 1: the same on every host and in every release. */
function projectOf(workspace: string): number {
  return 1 + (createHash("sha256").update(`workspace/${workspace}`).digest().readUInt32BE(0) % 0x7ffffffe);
}
