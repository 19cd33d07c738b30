import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RUNNER } from "../../../runtime/policy/shell/shell.ts";

/** Whom the sessions of a shell run as in tests. */
export const UID = 29_997;

const START = `
umount -R -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$1/$$"
echo $$ >"/sys/fs/cgroup/$1/$$/cgroup.procs"
exec setpriv --reuid ${UID} --regid ${UID} --clear-groups /usr/bin/python3 -I "$2/runner.py" "$2/shell.json"`;

/** Why no session can be had here; undefined if it can. */
export const missing =
  process.platform !== "linux" || process.getuid?.() !== 0
    ? "control groups are root's to make"
    : spawnSync("unshare", ["--mount", "sh", "-c", "umount -R -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup"])
          .status === 0
      ? undefined
      : "no control groups of version 2 can be mounted here";
if (missing !== undefined) console.log(`not run: sessions of a shell: ${missing}`);

/** What a unit is to a session, for tests: a user of its own, a control group for each, a folder to work in. */
export class SessionPlace {
  readonly folder = mkdtempSync(join(tmpdir(), "bailiwick-shell-"));
  readonly #group = `bailiwick-shell-test-${process.pid}-${Math.random().toString(36).slice(2)}`;
  readonly work = join(this.folder, "work");

  constructor(config: object) {
    mkdirSync(this.work);
    chmodSync(this.work, 0o777);
    chmodSync(this.folder, 0o755);
    writeFileSync(join(this.folder, "runner.py"), RUNNER);
    writeFileSync(join(this.folder, "shell.json"), JSON.stringify({ ...config, directory: this.work }));
  }

  get argv(): string[] {
    return ["unshare", "--mount", "sh", "-ec", START, "sh", this.#group, this.folder];
  }

  remove(): void {
    const clear = `mount -t cgroup2 none /sys/fs/cgroup; cd /sys/fs/cgroup; [ ! -e ${this.#group} ] || rmdir ${this.#group}/*/ ${this.#group}`;
    execFileSync("unshare", ["--mount", "sh", "-ec", clear]);
    rmSync(this.folder, { recursive: true });
  }
}
