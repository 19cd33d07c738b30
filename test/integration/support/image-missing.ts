import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cacheDirectory } from "../../../runtime/local/directories.ts";
import { type ImageInputs, imageDigest } from "../../../runtime/local/image.ts";

// where mmdebstrap looks for keys and packages by itself
const KEYS = "/usr/share/keyrings/ubuntu-archive-keyring.gpg";
const RELEASE = "http://archive.ubuntu.com/ubuntu/dists/noble/Release";

/**
 * Why an image of Ubuntu can neither be found in the cache nor be built here; undefined if it can, as far as that can be
 * told before.
 */
export async function ubuntuImageMissing(
  inputs: ImageInputs & { readonly os: "ubuntu-24.04" },
): Promise<string | undefined> {
  if (existsSync(join(cacheDirectory(), "images", await imageDigest(inputs), "root.img"))) return undefined;
  const built = `the image of ${inputs.os} is not in the cache, and cannot be built`;
  if (!existsSync(KEYS)) return `${built} without the keys of Ubuntu's archive: apt-get install ubuntu-keyring`;
  return reached() ? undefined : `${built} without Ubuntu's archive: apt did not get ${RELEASE}`;
}

function reached(): boolean {
  const folder = mkdtempSync(join(tmpdir(), "bailiwick-archive-"));
  try {
    const args = ["download-file", RELEASE, join(folder, "Release")];
    return spawnSync("/usr/lib/apt/apt-helper", args, { stdio: "ignore", timeout: 60_000 }).status === 0;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
