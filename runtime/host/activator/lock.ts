import { randomBytes } from "node:crypto";
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
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
      return { token: holder.token, release: () => rm(paths.lock, { force: true }) };
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

/** Who holds the lock, or null when nobody alive does. */
export async function currentLock(): Promise<Holder | null> {
  try {
    const holder = JSON.parse(await readFile(paths.lock, "utf8")) as Holder;
    process.kill(holder.pid, 0);
    return holder;
  } catch {
    return null; // absent, half-written by a process that died, or its holder is gone
  }
}

/** @throws unless `token` is that of the lock now held */
export async function requireLock(token: string): Promise<void> {
  const holder = await currentLock();
  if (holder?.token !== token) throw new Error("this push no longer holds the host's lock; run it again");
}
