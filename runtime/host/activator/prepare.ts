import { chmod, chown, mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ReleaseManifest } from "../../spec/manifest.ts";
import { credentialFile } from "./credentials.ts";
import { readIfThere, writeWhole } from "./files.ts";
import { paths } from "./paths.ts";
import { releasePath } from "./release.ts";
import { run, tryRun } from "./run.ts";
import { seedWorkspaces } from "./seeds.ts";

/**
 * Everything a release needs of the host before it can be switched to; changes nothing that a running release sees,
 * but for admins and ACLs, which only ever become what the new release says.
 * @throws naming what is missing and what to do
 */
export async function prepare(manifest: ReleaseManifest): Promise<void> {
  await requireHost();
  for (const [name, digest] of Object.entries(manifest.components))
    if ((await stat(join(paths.components, digest)).catch(() => null)) === null)
      throw new Error(`component ${name} (${digest.slice(0, 12)}) is not on the host; push again`);
  for (const { name, version } of manifest.credentials)
    if (((await stat(credentialFile(name, version)).catch(() => null))?.size ?? 0) === 0)
      throw new Error(
        `credential ${name} version ${version.slice(0, 8)} is not on the host; push again with its secret at hand`,
      );
  // An owned table refuses even nft's check, so it is checked where there is none.
  const firewall = join(releasePath(manifest.digest), "etc/firewall.nft");
  await run("unshare", ["--net", "nft", "--check", "--file", firewall]);
  await recordUids(manifest);
  await run("systemd-sysusers", [join(releasePath(manifest.digest), "etc/sysusers.conf")]);
  await seedWorkspaces(manifest);
  await makeDirectories(manifest);
}

/** Brings everything to both disks: a release that is switched to, or confirmed, must not lose to a power cut what it needs. */
export async function syncDisks(): Promise<void> {
  await run("sync", ["--file-system", paths.releases, paths.data]);
}

async function requireHost(): Promise<void> {
  const baseline = await readIfThere(paths.baseline);
  if (baseline === null) throw new Error(`${paths.baseline} is missing: first boot has not finished`);
  if ((await readIfThere(paths.claimed)) === null)
    throw new Error("the bootstrap host key is still in place: the host is not claimed");
  // A cloud attaches the volume to the running machine, perhaps after first boot has looked for it.
  if (!(await dataIsMounted())) await tryRun("systemctl", ["start", "var-lib-bailiwick.mount"]);
  if (!(await dataIsMounted()))
    throw new Error(
      `the data volume is not mounted at ${paths.data}; see journalctl -u bailiwick-data -u var-lib-bailiwick.mount`,
    );
}

async function dataIsMounted(): Promise<boolean> {
  const mounts = await readFile("/proc/self/mountinfo", "utf8");
  return mounts.split("\n").some((line) => line.split(" ")[4] === paths.data);
}

/** A uid once given to a name is never given to another: files of the first would become the second's. */
async function recordUids(manifest: ReleaseManifest): Promise<void> {
  const ledger = JSON.parse((await readIfThere(paths.ledger)) ?? "{}") as Record<string, number>;
  const holders = new Map(Object.entries(ledger).map(([principal, uid]) => [uid, principal]));
  for (const { principal, uid } of manifest.users) {
    const known = ledger[principal];
    if (known !== undefined && known !== uid)
      throw new Error(
        `${principal} has uid ${known} on this host's data volume, the release says ${uid}; set uid: ${known}`,
      );
    const holder = holders.get(uid);
    if (holder !== undefined && holder !== principal)
      throw new Error(`uid ${uid} belonged to ${holder} on this host's data volume; give ${principal} another uid`);
    ledger[principal] = uid;
  }
  await mkdir(dirname(paths.ledger), { recursive: true, mode: 0o700 });
  await writeWhole(paths.ledger, `${JSON.stringify(ledger, null, 2)}\n`, 0o600);
}

async function makeDirectories(manifest: ReleaseManifest): Promise<void> {
  const uids = new Map(manifest.users.map((user) => [user.name, user.uid]));
  for (const { path, user, mode } of manifest.directories) {
    if (!path.startsWith(`${paths.data}/`))
      throw new Error(`the release names a directory ${path} outside ${paths.data}`);
    const uid = user === "root" ? 0 : uids.get(user);
    if (uid === undefined) throw new Error(`the release gives ${path} to ${user}, who is no principal of it`);
    await mkdir(path, { recursive: true });
    await chown(path, uid, uid);
    await chmod(path, Number.parseInt(mode, 8));
  }
}

/** Workspaces are root's; who is granted one is in its ACL, inherited by what is made in it. */
export async function applyAcls(manifest: ReleaseManifest, previous: ReleaseManifest | null): Promise<void> {
  const lists = (m: ReleaseManifest | null) => {
    const byPath = new Map<string, string>();
    for (const { path, user, mode } of m?.acls ?? []) {
      const bits = mode === "rw" ? "rwX" : "rX";
      byPath.set(path, [byPath.get(path), `u:${user}:${bits}`, `d:u:${user}:${bits}`].filter(Boolean).join(","));
    }
    return byPath;
  };
  const now = lists(manifest);
  const before = lists(previous);
  for (const path of new Set([...now.keys(), ...before.keys()])) {
    const list = now.get(path);
    if (list === before.get(path) || (await stat(path).catch(() => null)) === null) continue;
    // -P: symlinks in a workspace are an agent's to make, and none of ours to follow
    await run("setfacl", ["-R", "-P", "-b", path]);
    if (list !== undefined) await run("setfacl", ["-R", "-P", "-m", list, path]);
  }
}

/** Admins' accounts and keys as the release says; an admin it no longer names cannot log in. */
export async function applyAdmins(manifest: ReleaseManifest): Promise<void> {
  await mkdir(paths.authorizedKeys, { recursive: true, mode: 0o755 });
  for (const { name, uid } of manifest.admins) {
    if ((await tryRun("id", ["--user", name])).code !== 0)
      await run("useradd", ["--create-home", "--uid", String(uid), "--shell", "/bin/bash", name]);
    await run("usermod", ["--append", "--groups", "bailiwick-admins", "--expiredate", "", name]);
    const keys = await readFile(join(releasePath(manifest.digest), "etc/ssh", name), "utf8");
    if ((await readIfThere(join(paths.authorizedKeys, name))) !== keys)
      await writeWhole(join(paths.authorizedKeys, name), keys, 0o644);
  }
  const group = (await run("getent", ["group", "bailiwick-admins"])).trim().split(":")[3] ?? "";
  const named = new Set(manifest.admins.map((admin) => admin.name));
  for (const name of [...group.split(","), ...(await readdir(paths.authorizedKeys))].filter(
    (n) => n !== "" && !named.has(n),
  )) {
    await rm(join(paths.authorizedKeys, name), { force: true });
    await tryRun("gpasswd", ["--delete", name, "bailiwick-admins"]);
    await tryRun("usermod", ["--lock", "--expiredate", "1", name]);
  }
}
