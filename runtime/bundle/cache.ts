import { mkdir, mkdtemp, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** What every builder of this folder takes. */
export interface BuildOptions {
  /** Folder that caches what was built; default: `cacheFolder()`. */
  readonly cache?: string;
  /** Told in words what long work is at; default: nothing is told. */
  readonly progress?: (line: string) => void;
}

/** Where built things are kept: $BAILIWICK_CACHE, else $XDG_CACHE_HOME/bailiwick, else ~/.cache/bailiwick. Absolute. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  if (env.BAILIWICK_CACHE) return resolve(env.BAILIWICK_CACHE);
  // A relative XDG_CACHE_HOME is invalid by its specification and ignored.
  const base = env.XDG_CACHE_HOME?.startsWith("/") ? env.XDG_CACHE_HOME : join(homedir(), ".cache");
  return join(base, "bailiwick");
}

// A builder's folder is touched while it lives. After 10 s without, nobody waits for it any more; only after 10 minutes
// is it removed, for a machine that was suspended or overloaded goes on where it was.
const HEARTBEAT_MS = 2_000;
const WAIT_FOR_MS = 10_000;
const REMOVE_AFTER_MS = 600_000;
const UNFINISHED = ".unfinished-";

const running = new Map<string, Promise<void>>();

/**
 * Makes sure that `folder` exists, whole. If it does not, `build` fills a temporary folder beside it, which is then
 * renamed: what exists is complete, whoever is interrupted or comes second. A second builder in this process joins
 * the first; one in another process waits for it.
 * @throws what `build` throws, after removing what it left
 */
export async function buildOnce(
  folder: string,
  build: (temporary: string) => Promise<void>,
  progress: (line: string) => void = () => {},
): Promise<void> {
  const joined = running.get(folder);
  if (joined !== undefined) return joined;
  const work = buildOrWait(folder, build, progress).finally(() => running.delete(folder));
  running.set(folder, work);
  return work;
}

async function buildOrWait(
  folder: string,
  build: (temporary: string) => Promise<void>,
  progress: (line: string) => void,
): Promise<void> {
  let told = false;
  for (;;) {
    if (await exists(folder)) return;
    if (!(await anotherBuilds(folder))) break;
    if (!told) progress(`waiting for another process that is building ${basename(folder)}`);
    told = true;
    await sleep(200);
  }
  await mkdir(dirname(folder), { recursive: true });
  const temporary = await mkdtemp(unfinished(folder));
  // Its time says that its builder lives: no pid is needed, so neither pid namespaces nor reused pids confuse anyone.
  const heartbeat = setInterval(() => utimes(temporary, new Date(), new Date()).catch(() => {}), HEARTBEAT_MS);
  try {
    await build(temporary);
    await rename(temporary, folder).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
    });
  } finally {
    clearInterval(heartbeat);
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Whether another process is at it. What was left long ago by builders that died is removed on the way. */
async function anotherBuilds(folder: string): Promise<boolean> {
  const beside = await readdir(dirname(folder)).catch(() => []);
  let alive = false;
  for (const name of beside.filter((sibling) => sibling.startsWith(UNFINISHED))) {
    const path = join(dirname(folder), name);
    const age = await stat(path).then(
      (found) => Date.now() - found.mtimeMs,
      () => undefined,
    );
    if (age === undefined) continue;
    if (age > REMOVE_AFTER_MS) await rm(path, { recursive: true, force: true });
    else if (age < WAIT_FOR_MS && path.startsWith(unfinished(folder))) alive = true;
  }
  return alive;
}

function unfinished(folder: string): string {
  return join(dirname(folder), `${UNFINISHED}${basename(folder)}-`);
}

/** Whether something is at a path. */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
