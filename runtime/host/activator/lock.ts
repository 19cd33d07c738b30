import { randomBytes } from "node:crypto";
import { mkdir, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { paths } from "./paths.ts";

interface Holder {
  token: string;
  pid: number;
  who: string;
  why: string;
  since: string;
}

/**
 * Takes the host's one lock for as long as this process lives. The lock file is on a tmpfs and names the process, so a
 * lock whose holder is gone (connection cut, killed) is free; it is never waited for.
 * @throws naming the holder, since when and why
 */
export async function takeLock(who: string, why: string): Promise<{ token: string; release: () => Promise<void> }> {
  await mkdir(paths.run, { recursive: true, mode: 0o755 });
  const holder: Holder = {
    token: randomBytes(16).toString("hex"),
    pid: process.pid,
    who,
    why,
    since: new Date().toISOString(),
  };
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const file = await open(paths.lock, "wx", 0o600);
      await file.writeFile(JSON.stringify(holder));
      await file.close();
      return { token: holder.token, release };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const other = await currentLock();
    if (other !== null)
      throw new Error(
        `the host is locked by ${other.who} since ${other.since} (${other.why}); try again when it is done`,
      );
    // Its holder is gone. Moved aside by rename, so that of two that see this only one removes it.
    const aside = `${paths.lock}.${holder.token}`;
    await rename(paths.lock, aside).catch(() => {});
    await rm(aside, { force: true });
  }
  throw new Error("the host's lock changed hands three times in a row; try again");
}

/** Frees the lock if it is this process's own: another may have taken it over. */
async function release(): Promise<void> {
  if ((await readHolder())?.pid === process.pid) await rm(paths.lock, { force: true });
}

/**
 * Takes over the lock of a push for as long as this process works for it, so that a connection which is cut in the midst
 * lets nobody else in before the work has ended.
 * @throws unless `token` is that of the lock now held
 */
export async function takeOver(token: string): Promise<{ handBack: () => Promise<void> }> {
  await requireLock(token);
  const holder = await readHolder();
  if (holder === null) throw new Error("the host's lock vanished; run the push again");
  await write({ ...holder, pid: process.pid });
  return {
    handBack: async () => {
      await write(holder); // whoever finds its process gone takes the lock
    },
  };
}

/**
 * The lock for what the host must do by itself: waits for whoever holds it, and takes it from one that does not end.
 * @returns what frees it
 */
export async function seizeLock(who: string, why: string, seconds: number): Promise<() => Promise<void>> {
  for (const deadline = Date.now() + seconds * 1000; Date.now() < deadline; ) {
    try {
      return (await takeLock(who, why)).release;
    } catch {
      await sleep(500);
    }
  }
  const other = await currentLock();
  if (other !== null) process.kill(other.pid, "SIGKILL");
  return (await takeLock(who, why)).release;
}

async function write(holder: Holder): Promise<void> {
  const next = `${paths.lock}.${process.pid}`;
  await writeFile(next, JSON.stringify(holder), { mode: 0o600 });
  await rename(next, paths.lock);
}

async function readHolder(): Promise<Holder | null> {
  try {
    return JSON.parse(await readFile(paths.lock, "utf8")) as Holder;
  } catch {
    return null; // absent, or half-written by a process that died
  }
}

/** Who holds the lock, or null when nobody alive does. */
export async function currentLock(): Promise<Holder | null> {
  const holder = await readHolder();
  try {
    if (holder !== null) process.kill(holder.pid, 0);
    return holder;
  } catch {
    return null; // its holder is gone
  }
}

/** @throws unless `token` is that of the lock now held */
export async function requireLock(token: string): Promise<void> {
  const holder = await currentLock();
  if (holder?.token !== token) throw new Error("this push no longer holds the host's lock; run it again");
}
