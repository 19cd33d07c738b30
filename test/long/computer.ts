import { execFileSync, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { BASELINE_PACKAGES } from "../../cloud-init/baseline.ts";
import { nodeBinary } from "../../runtime/bundle/node.ts";
import { ensureImage } from "../../runtime/local/image.ts";
import { bootMachine, destroyMachine } from "../../runtime/local/machine.ts";
import { run } from "../../runtime/local/run-program.ts";
import { namesOf } from "../../runtime/local/slot.ts";
import { ok, type Ran } from "../integration/support/project.ts";
import { Guest } from "../runtime/local/guest.ts";

const root = resolve(import.meta.dirname, "../..");
const PUPPET = join(root, "test/integration/support/puppet");

/** What `bailiwick doctor` names on a Debian 13 that has nothing but its base system, and what the kit is driven with. */
const PACKAGES = [
  ...["apparmor", "debian-archive-keyring", "e2fsprogs", "mmdebstrap", "nftables", "openssh-client", "passt", "sudo"],
  ...["systemd-container", "util-linux", "xfsprogs", "zstd"],
];

/**
 * Fills the volume that becomes the home of the computer's root: the clone, its packages, Node.js, Terraform, the image, and
 * what takes minutes where every instruction is translated: both states of the code synthesised, the components built. The
 * volume lies at /root for that, so that every path is the one it will have.
 */
const FILL = `set -eu
disk=$1 from=$2 node=$3 terraform=$4 files=$5 image=$6 app=$7 puppet=$8
truncate -s 24G "$disk"
mke2fs -q -t ext4 -E lazy_itable_init=1,lazy_journal_init=1,nodiscard "$disk"
mkdir -p "$disk.mnt"
mount -o loop,noatime "$disk" "$disk.mnt"
cd "$disk.mnt"
mkdir -p bin kit/node_modules project .cache/bailiwick/images .cache/bailiwick/node
cp -L "$terraform" bin/
cp -a "$node" .cache/bailiwick/node/
cp -a --sparse=always "$image" .cache/bailiwick/images/
tar -C "$from" --null -T "$files" -c | tar -C kit -x
tar -C "$from/node_modules" --exclude=./@biomejs --exclude=./@anthropic-ai --exclude=./openai -c . | tar -C kit/node_modules -x
# two minutes are enough for a container's boot on any computer but a translated one
sed -i 's/bootSeconds: 120,/bootSeconds: 1200,/' kit/runtime/local/engines.ts
grep -q 'bootSeconds: 1200,' kit/runtime/local/engines.ts
# a translated processor is slowest at code that changes
printf '#!/bin/sh\\nexec %s --no-opt --no-sparkplug --no-maglev "$@"\\n' "/root/.cache/bailiwick/node/$(basename "$node")/bin/node" >bin/node
chmod 0755 bin/node
cd project
ln -s ../kit/node_modules node_modules
echo '{"type":"module"}' >package.json
echo '{"language":"typescript","app":"node --import tsx main.ts","projectId":"test","sendCrashReports":"false"}' >cdktf.json
cp "$app" main.ts
cp -a "$puppet" puppet
mount --bind "$disk.mnt" /root
cd /root/project
export HOME=/root PATH="/root/bin:$PATH" CHECKPOINT_DISABLE=1
unset XDG_CACHE_HOME XDG_CONFIG_HOME XDG_STATE_HOME BAILIWICK_CACHE BAILIWICK_STATE TF_CLI_CONFIG_FILE
for rebuild in 1 0; do
  REBUILD=$rebuild node --import tsx main.ts
  terraform -chdir=cdktf.out/stacks/box init -input=false >/dev/null
  mv cdktf.out "synthesised-$rebuild"
done
ln -s synthesised-0 cdktf.out
node ../kit/bin/bailiwick.mjs bundle box
cd /
umount /root "$disk.mnt"
rmdir "$disk.mnt"`;

/**
 * A computer whose pid 1 is systemd and whose cgroups are version 2 alone, as an operator's usually is: a virtual machine of
 * this machine's, emulated where KVM boots no guest, with the kit on it and nothing else within reach.
 */
export class Computer {
  readonly #dir = mkdtempSync(join(tmpdir(), "bailiwick-computer-"));
  readonly #slot = randomUUID();
  readonly #keys = new Guest(this.#dir);
  readonly #say: (line: string) => void;
  #port = 0;

  constructor(say: (line: string) => void) {
    this.#say = say;
  }

  /**
   * @param app text of its `main.ts`, with a stack and a host that are both named `box`; `"KIT"` in it is where constructs
   * are imported from, and the environment's `REBUILD` is 0 or 1
   */
  async start(app: string): Promise<void> {
    const os = "debian-13";
    const own = await ensureImage({ os, packages: PACKAGES, progress: this.#say });
    const inner = await ensureImage({ os, packages: BASELINE_PACKAGES, progress: this.#say });
    process.env.BAILIWICK_STATE = join(this.#dir, "state");
    const names = namesOf(this.#slot);
    mkdirSync(names.directory, { recursive: true, mode: 0o700 });
    await this.#fill(names.dataDisk, app, dirname(inner.path));
    this.#say("filled its disk");
    const plan = { slot: this.#slot, instance: randomUUID(), host: "computer", engine: "qemu", image: own } as const;
    const size = { memoryMiB: 8192, cpus: 2, rootGiB: 4, dataGiB: 24 };
    const { userData } = this.#keys;
    const machine = await bootMachine({ ...plan, ...size, userData, progress: this.#say, bootSeconds: 1200 });
    this.#port = machine.port;
    // nothing of the network but its SSH port: the device that leads out is pasta's
    execFileSync("ip", ["-n", names.name, "link", "set", "host0", "down"]);
    // to load XFS takes a translated processor longer than the container's mount of it may
    ok(
      await this.run("cloud-init status --wait >/dev/null; modprobe xfs && mount /dev/disk/by-id/bailiwick-data /root"),
    );
  }

  /** Runs a script as root in the project's folder. */
  run(script: string, seconds = 1200): Promise<Ran> {
    const child = spawn("ssh", this.#keys.arguments(this.#port, "sudo -n bash"), {
      stdio: ["pipe", "pipe", "pipe"],
      timeout: seconds * 1000,
    });
    const before =
      "export PATH=/root/bin:$PATH HOME=/root CHECKPOINT_DISABLE=1\n[ ! -d /root/project ] || cd /root/project";
    child.stdin.end(`${before}\n${script}\n`);
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    return new Promise((done, fail) => {
      child.on("error", fail);
      child.on("close", (code) =>
        done({ code: code ?? 255, stdout, stderr, text: stripVTControlCharacters(stdout + stderr) }),
      );
    });
  }

  bailiwick(...args: string[]): Promise<Ran> {
    return this.run(`exec node ../kit/bin/bailiwick.mjs ${args.map(quoted).join(" ")} </dev/null`);
  }

  /** What `cdktf deploy` and `destroy` do once they have synthesised, which was done before. */
  terraform(action: "apply" | "destroy", rebuild: 0 | 1): Promise<Ran> {
    const act = `exec terraform -chdir=cdktf.out/stacks/box ${action} -input=false -auto-approve -no-color </dev/null`;
    return this.run(`ln -sfn synthesised-${rebuild} cdktf.out\n${act}`, 1800);
  }

  async stop(): Promise<void> {
    await destroyMachine(this.#slot);
    rmSync(this.#dir, { recursive: true, force: true });
  }

  async #fill(disk: string, app: string, image: string): Promise<void> {
    const files = join(this.#dir, "files");
    const tracked = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    writeFileSync(files, execFileSync("git", tracked, { cwd: root, encoding: "buffer" }));
    const main = join(this.#dir, "main.ts");
    writeFileSync(main, app.replaceAll(`"KIT"`, `"../kit/constructs/index.ts"`));
    const terraform = execFileSync("sh", ["-c", "command -v terraform"], { encoding: "utf8" }).trim();
    const node = dirname(dirname(await nodeBinary()));
    const words = [disk, root, node, terraform, files, image, main, PUPPET];
    await run("unshare", ["-m", "--propagation", "private", "bash", "-c", FILL, "fill", ...words]);
  }
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
