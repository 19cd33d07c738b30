import { mkdir, readFile, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { ReleaseManifest } from "../../spec/manifest.ts";
import { writeWhole } from "./files.ts";
import { paths } from "./paths.ts";
import { run, tryRun } from "./run.ts";
import { daemonReload, stopWithin } from "./systemd.ts";

/** Unit of the data volume, and what mounts it with project quotas from now on. */
const MOUNT = "var-lib-bailiwick.mount";
const DROP_IN = `/etc/systemd/system/${MOUNT}.d/quota.conf`;
/** The baseline's options and one more: XFS takes it when it is mounted, and at no other time. */
export const QUOTA_OPTIONS = "noatime,nodev,nosuid,prjquota";

/**
 * Mounts the data volume with project quotas if the release has a quota, the kernel has them, and it is not mounted so
 * already. Every unit stops for it, once in the life of a machine; whoever switches starts them again.
 */
export async function enableQuotas(
  after: ReleaseManifest,
  before: ReleaseManifest | null,
  drain: number,
): Promise<void> {
  if (after.quotas === undefined || (await inForce()) || !(await kernelHasThem())) return;
  await stopWithin((before?.units ?? []).map(({ name }) => name).reverse(), drain);
  await mkdir(dirname(DROP_IN), { recursive: true });
  await writeWhole(DROP_IN, `[Mount]\nOptions=${QUOTA_OPTIONS}\n`, 0o644);
  await daemonReload();
  await run("systemctl", ["stop", MOUNT]);
  if ((await tryRun("systemctl", ["start", MOUNT])).code === 0) return;
  await rm(DROP_IN);
  await daemonReload();
  await run("systemctl", ["start", MOUNT]);
  throw new Error(`the data volume does not mount with ${QUOTA_OPTIONS}; take the quotas of workspaces away`);
}

/**
 * Workspaces hold at most what the release says; one that no longer has a quota holds what the volume has. On a kernel without
 * project quotas nothing is done: verify says so.
 */
export async function applyQuotas(manifest: ReleaseManifest, previous: ReleaseManifest | null): Promise<void> {
  const now = manifest.quotas ?? [];
  const gone = (previous?.quotas ?? []).filter(({ project }) => !now.some((one) => one.project === project));
  if (now.length + gone.length === 0 || !(await inForce())) return;
  for (const { path, project, mib } of [...now, ...gone.map((one) => ({ ...one, mib: 0 }))]) {
    if ((await stat(path).catch(() => null)) === null) continue;
    // what is there already is counted from now on; what is made in it inherits the project
    const commands = [`project -s -p ${path} ${project}`, `limit -p bhard=${mib}m ${project}`];
    await run("xfs_quota", ["-x", ...commands.flatMap((command) => ["-c", command]), paths.data]);
  }
}

async function inForce(): Promise<boolean> {
  const mounts = (await readFile("/proc/self/mountinfo", "utf8")).split("\n").map((line) => line.split(" "));
  const options = mounts.find((fields) => fields[4] === paths.data)?.at(-1) ?? "";
  return options.split(",").includes("prjquota");
}

/** XFS is there already, for the volume is mounted; it tells of quotas only if it was built with them. */
async function kernelHasThem(): Promise<boolean> {
  return (await stat("/proc/fs/xfs/xqmstat").catch(() => null)) !== null;
}
