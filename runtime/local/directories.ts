import { homedir } from "node:os";
import { join } from "node:path";

type Environment = Readonly<Record<string, string | undefined>>;

/** Where images are kept: `$BAILIWICK_CACHE`, else `$XDG_CACHE_HOME/bailiwick`, else `~/.cache/bailiwick`. Safe to delete. */
export function cacheDirectory(env: Environment = process.env): string {
  return env.BAILIWICK_CACHE ?? join(env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "bailiwick");
}

/**
 * Where local machines live: `$BAILIWICK_STATE`, else `$XDG_STATE_HOME/bailiwick`, else `~/.local/state/bailiwick`. Holds
 * their disks and data volumes.
 */
export function stateDirectory(env: Environment = process.env): string {
  return env.BAILIWICK_STATE ?? join(env.XDG_STATE_HOME ?? join(homedir(), ".local", "state"), "bailiwick");
}

/** The directory of all local machines, one folder per slot. */
export function machinesDirectory(): string {
  return join(stateDirectory(), "local");
}
