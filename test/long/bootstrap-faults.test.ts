import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BASELINE_PACKAGES } from "../../cloud-init/baseline.ts";
import { cacheDirectory } from "../../runtime/local/directories.ts";
import { ensureImage } from "../../runtime/local/image.ts";
import { nspawnOf } from "../../runtime/local/nspawn.ts";
import { besideOf, namesOf } from "../../runtime/local/slot.ts";
import { ok, Project } from "../integration/support/project.ts";

// First boot, broken in one step after the other: the deploy must fail and name the step, and the next deploy repairs the
// machine once the cause is gone, or `rebuild` replaces it where first boot never got far enough to let anybody repair it.

const DAEMON = resolve(import.meta.dirname, "../../examples/command-agent/daemon");

interface Fault {
  readonly step: string;
  readonly what: string;
  /** Run on the image, with its root as the working directory. */
  readonly breaks: string;
  /** Run as root on the machine; null where only a new machine helps. */
  readonly mends: string | null;
  /** What the deploy says. Default: the step of first boot. */
  readonly says?: string;
}

/** In place of a program: fails, and says so. */
const failing = (program: string) => ({
  breaks: `mv .${program} .${program}.kept; printf '#!/bin/sh\\necho ${program} is broken >&2; exit 1\\n' >.${program}; chmod 755 .${program}`,
  mends: `mv ${program}.kept ${program}`,
});

const FAULTS: readonly Fault[] = [
  { step: "first_boot", what: "ssh-keygen fails", ...failing("/usr/bin/ssh-keygen"), mends: null },
  {
    step: "files",
    what: "a directory stands where a file should go",
    breaks: "mkdir -p usr/lib/bailiwick/firewall",
    mends: null,
  },
  { step: "firewall", what: "nft fails", ...failing("/usr/sbin/nft") },
  {
    step: "packages",
    what: "a package is missing and no archive is reached",
    breaks:
      "chroot . dpkg --purge --force-all acl; mv etc/apt etc/apt.kept; mkdir -p etc/apt/apt.conf.d etc/apt/preferences.d",
    mends: "rm -r /etc/apt; mv /etc/apt.kept /etc/apt",
  },
  {
    step: "directories",
    what: "a file stands in the way",
    breaks: "echo x >opt/bailiwick",
    mends: "rm /opt/bailiwick",
  },
  {
    step: "ssh_server",
    what: "sshd does not read the kit's configuration",
    breaks: "cp etc/ssh/sshd_config etc/ssh/kept; sed -i /^Include/d etc/ssh/sshd_config",
    mends: "mv /etc/ssh/kept /etc/ssh/sshd_config",
  },
  { step: "accounts", what: "visudo fails", ...failing("/usr/sbin/visudo") },
  {
    step: "kernel",
    what: "modprobe.d is a file",
    breaks: "mv etc/modprobe.d etc/modprobe.kept; echo x >etc/modprobe.d",
    mends: "rm /etc/modprobe.d; mv /etc/modprobe.kept /etc/modprobe.d",
  },
  { step: "mounts", what: "fstab cannot be changed", breaks: "chattr +i etc/fstab", mends: "chattr -i /etc/fstab" },
  {
    step: "logging",
    what: "a file stands where journald's settings go",
    breaks: "rm -rf etc/systemd/journald.conf.d; echo x >etc/systemd/journald.conf.d",
    mends: "rm /etc/systemd/journald.conf.d",
  },
  {
    step: "updates",
    what: "unattended-upgrades is masked",
    breaks: "ln -sf /dev/null etc/systemd/system/unattended-upgrades.service",
    mends: "rm /etc/systemd/system/unattended-upgrades.service; systemctl daemon-reload",
  },
  {
    step: "data",
    what: "a file stands where the volume goes",
    breaks: "echo x >var/lib/bailiwick",
    // a machine that replaces another gets its volume after first boot
    says: "the data volume is not mounted",
    mends: "rm /var/lib/bailiwick",
  },
];

const app = (rebuild: number) => `
import { App, TerraformStack } from "cdktf";
import { Access, AgentHost, LocalMachine, Runtime } from "KIT";

const app = new App();
const stack = new TerraformStack(app, "frail");
new AgentHost(stack, "frail", {
  machine: new LocalMachine(stack, "machine", { engine: "nspawn", rootGiB: 4, dataGiB: 1, rebuild: ${rebuild} }),
  access: Access.operator(),
  timeouts: { baselineSeconds: 90 },
}).addAgent("clock", { runtime: Runtime.command({ source: ${JSON.stringify(DAEMON)}, argv: ["node", "./main.mjs"], health: "/healthz" }) });
app.synth();
`;

describe("a first boot that goes wrong", () => {
  const project = new Project(app(0));
  let image: { digest: string; path: string };
  const cache = join(project.dir, "cache");
  const broken = () => join(cache, "images", image.digest, "root.img");
  const flat = (text: string) => text.replace(/[\s│]+/g, " ");
  const deploy = () => project.cdktf(["deploy", "frail", "--auto-approve"], { BAILIWICK_CACHE: cache });

  /** The image as it is built, with something done to it. */
  const prepareImage = (how: string) => {
    execFileSync("cp", ["--sparse=always", image.path, broken()]);
    const script = `set -e; mkdir -p "$1.mnt"; mount -o loop "$0" "$1.mnt"; cd "$1.mnt"; ${how}`;
    execFileSync("unshare", ["-m", "--propagation", "private", "bash", "-c", script, broken(), broken()]);
  };
  const inGuest = (command: string) => {
    const slot = readdirSync(join(project.dir, "state/local"))[0] ?? "";
    // the one that was to replace the one before, else the one that serves
    const nspawn = (nspawnOf(besideOf(slot)) ?? nspawnOf(namesOf(slot)))?.pid;
    const init = readFileSync(`/proc/${nspawn}/task/${nspawn}/children`, "utf8").trim().split(" ")[0] ?? "";
    const ran = spawnSync("nsenter", ["-t", init, "-a", "/bin/sh", "-c", `set -e; ${command}`], { encoding: "utf8" });
    if (ran.status !== 0) throw new Error(`${command}: ${ran.stdout}${ran.stderr}`);
  };

  beforeAll(async () => {
    process.env.BAILIWICK_STATE = project.env.BAILIWICK_STATE; // where this process finds the machine
    image = await ensureImage({ os: "debian-13", packages: BASELINE_PACKAGES, progress: console.log });
    await project.build("frail");
    mkdirSync(join(cache, "images", image.digest), { recursive: true });
    for (const name of readdirSync(cacheDirectory()))
      if (name !== "images") symlinkSync(join(cacheDirectory(), name), join(cache, name));
  });
  afterAll(async () => {
    ok(await project.cdktf(["destroy", "frail", "--auto-approve"]));
    project.remove();
  });

  it.each(FAULTS.map((fault, i) => ({ ...fault, i })))("$step: $what", async ({ step, breaks, mends, says, i }) => {
    prepareImage(breaks);
    project.write(app(i + 1));
    const failed = await deploy();
    expect(failed.code).not.toBe(0);
    expect(flat(failed.text)).toContain(says ?? `first boot failed at step "${step}"`);
    if (mends === null) {
      prepareImage("true");
      ok(await project.bailiwick(["rebuild", "frail"], { BAILIWICK_CACHE: cache }));
    } else {
      inGuest(mends);
      ok(await deploy());
    }
    const status = JSON.parse(ok(await project.bailiwick(["status", "frail", "--json"])).stdout);
    expect(status).toMatchObject({ upToDate: true, failedUnits: [] });
  });
});
