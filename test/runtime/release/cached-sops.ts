import { homedir } from "node:os";
import { join } from "node:path";

export const SOPS_VERSION = "3.13.3";

/** Where `npm run sops` puts the real sops for tests. */
export const cachedSops = join(
  process.env.XDG_CACHE_HOME || join(homedir(), ".cache"),
  "bailiwick/sops",
  SOPS_VERSION,
  "sops",
);
