import { mkdir, readdir, readFile, readlink, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { HostFacts } from "../../spec/activator.ts";
import type { ReleaseManifest } from "../../spec/manifest.ts";
import { writeWhole } from "./files.ts";
import { paths } from "./paths.ts";
import { run, tryRun } from "./run.ts";
import { daemonReload } from "./systemd.ts";

/** Unit of the data volume, and what mounts it with project quotas from now on. */
const MOUNT = "var-lib-bailiwick.mount";
const DROP_IN = `/etc/systemd/system/${MOUNT}.d/quota.conf`;
/** The baseline's options and one more: XFS takes it when it is mounted, and at no other time. */
export const QUOTA_OPTIONS = "noatime,nodev,nosuid,prjquota";

/** How this host stands to project quotas. XFS is there already, for the volume is mounted; it tells of quotas only if it was built with them. */
export async function projectQuotas(): Promise<NonNullable<HostFacts["projectQuotas"]>> {
  if ((await mountOptions())?.includes("prjquota")) return "on";
  return (await stat("/proc/fs/xfs/xqmstat").catch(() => null)) === null ? "none" : "off";
}

/** Of the data volume's file system; undefined if it is not mounted. */
async function mountOptions(): Promise<string[] | undefined> {
  const mounts = (await readFile("/proc/self/mountinfo", "utf8")).split("\n").map((line) => line.split(" "));
  return mounts
    .find((fields) => fields[4] === paths.data)
    ?.at(-1)
    ?.split(",");
}

/** Whether the data volume has to be mounted anew for this release, which takes that every unit stops: once in the life of a machine. */
export async function mustMountAnew(manifest: ReleaseManifest): Promise<boolean> {
  return manifest.quotas !== undefined && (await projectQuotas()) === "off";
}

/**
 * Mounts the data volume with project quotas. Every unit must have been stopped; whoever switches starts them again.
 * @throws when it does not come to that, saying who keeps it; it is mounted then as it was
 */
export async function mountAnew(): Promise<void> {
  await mkdir(dirname(DROP_IN), { recursive: true });
  await writeWhole(DROP_IN, `[Mount]\nOptions=${QUOTA_OPTIONS}\n`, 0o644);
  await daemonReload();
  await tryRun("systemctl", ["stop", MOUNT]);
  const holders = (await mountOptions()) === undefined ? [] : await holdersOf(paths.data);
  await tryRun("systemctl", ["start", MOUNT]);
  if ((await projectQuotas()) === "on") return;
  await rm(DROP_IN);
  await daemonReload();
  await run("systemctl", ["start", MOUNT]);
  const why =
    holders.length === 0
      ? `it does not mount with ${QUOTA_OPTIONS}; see journalctl -u ${MOUNT}`
      : `${holders.join(", ")} is at work on it; end that and push again`;
  throw new Error(`the data volume could not be mounted anew, as quotas of workspaces need: ${why}`);
}

/** Up to three processes that keep a volume from being unmounted: `bash (4711)`. */
export async function holdersOf(volume: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const open = await readdir(`/proc/${pid}/fd`).catch(() => []);
    const links = ["cwd", "root", "exe", ...open.map((fd) => `fd/${fd}`)];
    const leadTo = await Promise.all(links.map((link) => readlink(`/proc/${pid}/${link}`).catch(() => "")));
    if (!leadTo.some((path) => path === volume || path.startsWith(`${volume}/`))) continue;
    const name = await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "a process");
    if (found.push(`${name.trim()} (${pid})`) === 3) break;
  }
  return found;
}

/**
 * Workspaces hold at most what the release says; one that no longer has a quota holds what the volume has. On a kernel without
 * project quotas nothing is done: a push and verify say so.
 */
export async function applyQuotas(manifest: ReleaseManifest, previous: ReleaseManifest | null): Promise<void> {
  const now = manifest.quotas ?? [];
  const gone = (previous?.quotas ?? []).filter(({ project }) => !now.some((one) => one.project === project));
  if (now.length + gone.length === 0 || (await projectQuotas()) !== "on") return;
  for (const { path, project, mib } of [...now, ...gone.map((one) => ({ ...one, mib: 0 }))]) {
    if ((await stat(path).catch(() => null)) === null) continue;
    // what is there already is counted from now on; what is made in it inherits the project
    const commands = [`project -s -p ${path} ${project}`, `limit -p bhard=${mib}m ${project}`];
    await run("xfs_quota", ["-x", ...commands.flatMap((command) => ["-c", command]), paths.data]);
  }
}
