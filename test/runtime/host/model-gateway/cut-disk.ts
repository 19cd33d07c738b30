import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, renameSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const run = (command: string, ...args: string[]) => execFileSync(command, args, { stdio: "pipe", encoding: "utf8" });

/** Why a disk cannot be made here; undefined if it can. */
export function missingForCutDisk(): string | undefined {
  if (process.getuid?.() !== 0) return "a file system in a file needs root";
  const found = spawnSync("losetup", ["--find"], { encoding: "utf8" });
  if (found.status !== 0) return "there is no free loop device";
  return spawnSync("mkfs.ext4", ["-V"]).status === 0 ? undefined : "there is no mkfs.ext4";
}

/**
 * A file system of its own whose power can be cut: what has not been synced lies in memory alone, above the file that is its
 * disk, and so a copy of that file is what would be found after.
 */
export class CutDisk implements Disposable {
  readonly mounted: string;
  readonly #image: string;

  constructor(folder: string) {
    const own = mkdtempSync(join(folder, "disk-"));
    this.mounted = join(own, "mounted");
    this.#image = join(own, "image");
    mkdirSync(this.mounted);
    writeFileSync(this.#image, "");
    truncateSync(this.#image, 64 * 1024 * 1024);
    run("mkfs.ext4", "-q", "-F", this.#image);
    this.#mount();
  }

  /** @param end ends what has files open on it; called once the copy has been taken */
  cut(end: () => void): void {
    const copy = `${this.#image}.cut`;
    run("cp", "--sparse=always", this.#image, copy);
    end();
    this.#unmount();
    renameSync(copy, this.#image);
    this.#mount();
  }

  #mount(): void {
    // written back by nobody but who syncs, for longer than a test
    run("mount", "-o", "loop,commit=600", this.#image, this.mounted);
  }

  #unmount(): void {
    for (let patience = 50; ; patience--) {
      const { status, stderr } = spawnSync("umount", [this.mounted], { encoding: "utf8" });
      if (status === 0) return;
      if (patience === 0) throw new Error(stderr);
      run("sleep", "0.1"); // what was killed lets go of its files in a moment
    }
  }

  [Symbol.dispose](): void {
    // a test that failed may have left something that still has files open
    run("umount", "--lazy", this.mounted);
  }
}
