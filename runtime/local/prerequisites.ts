import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { cacheDirectory, stateDirectory } from "./directories.ts";
import { QEMU } from "./qemu.ts";
import { cleanEnvironment, run } from "./run-program.ts";

/** One thing that a machine must have to run local machines. */
export interface Prerequisite {
  /** `program.<name>`, or `linux`, `root`, `keyring`, `loop`, `tun`, `xfs`, `disk`. */
  readonly id: string;
  readonly ok: boolean;
  /** What was found, for people. */
  readonly found: string;
  /** The command or step that mends it; null if it is there. */
  readonly fix: string | null;
}

/** Programs, and the Debian package each comes with. */
const PROGRAMS: Readonly<Record<string, string>> = {
  mmdebstrap: "mmdebstrap",
  "systemd-nspawn": "systemd-container",
  "systemd-socket-activate": "systemd",
  pasta: "passt",
  nft: "nftables",
  mke2fs: "e2fsprogs",
  resize2fs: "e2fsprogs",
  losetup: "mount",
  mount: "mount",
  zstd: "zstd",
  ip: "iproute2",
  unshare: "util-linux",
  nsenter: "util-linux",
  flock: "util-linux",
  bash: "bash",
};

/** An image takes 0.4 GB and needs 1.5 GB while it is built; a machine's disks grow as they are written. */
const NEEDED_GIB = 6;

/**
 * What local machines need of this machine, each with whether it is there and what mends it. Changes nothing and needs no
 * root. On another system than Linux only that is said. `searchPath`: where programs are looked for; default: `PATH` and
 * the system's directories.
 */
export async function checkPrerequisites(searchPath = cleanEnvironment().PATH ?? ""): Promise<Prerequisite[]> {
  if (process.platform !== "linux")
    return [missing("linux", `this is ${process.platform}`, "local machines run on Linux only")];
  const root = process.getuid?.() === 0;
  return [
    present("linux", "Linux"),
    root ? present("root", "uid 0") : missing("root", `uid ${process.getuid?.()}`, "run the command with sudo"),
    ...Object.entries(PROGRAMS).map(([program, debianPackage]) => programCheck(program, debianPackage, searchPath)),
    fileCheck("keyring", "/usr/share/keyrings/debian-archive-keyring.gpg", "apt-get install debian-archive-keyring"),
    fileCheck("loop", "/dev/loop-control", "modprobe loop"),
    fileCheck("tun", "/dev/net/tun", "modprobe tun"),
    await xfsCheck(),
    await diskCheck(),
  ];
}

/** What a local machine needs besides when it is a virtual one. Whether KVM runs a guest is tried when one is booted. */
export function checkQemu(searchPath = cleanEnvironment().PATH ?? ""): Prerequisite[] {
  return [programCheck(QEMU, "qemu-system-x86", searchPath)];
}

function present(id: string, found: string): Prerequisite {
  return { id, ok: true, found, fix: null };
}

function missing(id: string, found: string, fix: string): Prerequisite {
  return { id, ok: false, found, fix };
}

function programCheck(program: string, debianPackage: string, searchPath: string): Prerequisite {
  const id = `program.${program}`;
  const path = whereIs(program, searchPath);
  return path === undefined ? missing(id, "not installed", `apt-get install ${debianPackage}`) : present(id, path);
}

function whereIs(program: string, searchPath: string): string | undefined {
  const directories = searchPath.split(delimiter);
  return directories.map((directory) => join(directory, program)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function fileCheck(id: string, path: string, fix: string): Prerequisite {
  return existsSync(path) ? present(id, path) : missing(id, `no ${path}`, fix);
}

/** The data volume is XFS, and under nspawn the operator's own kernel mounts it. */
async function xfsCheck(): Promise<Prerequisite> {
  if (/\txfs$/m.test(readFileSync("/proc/filesystems", "utf8"))) return present("xfs", "in the kernel");
  const module = await run("modinfo", ["-n", "xfs"]).catch(() => undefined);
  return module === undefined
    ? missing("xfs", "the kernel has no XFS", "use a kernel with XFS, such as Debian's linux-image-amd64")
    : present("xfs", module.trim());
}

async function diskCheck(): Promise<Prerequisite> {
  const places = [cacheDirectory(), stateDirectory()];
  const free = await Promise.all(places.map(async (place) => ({ place, gib: await freeGiB(place) })));
  const found = free.map(({ place, gib }) => `${gib.toFixed(1)} GiB free at ${place}`).join(", ");
  if (free.every(({ gib }) => gib >= NEEDED_GIB)) return present("disk", found);
  return missing(
    "disk",
    found,
    `free ${NEEDED_GIB} GiB there, or set BAILIWICK_CACHE and BAILIWICK_STATE to directories on a larger disk`,
  );
}

async function freeGiB(path: string): Promise<number> {
  if (!existsSync(path)) return freeGiB(dirname(path));
  const { bavail, bsize } = await statfs(path);
  return (bavail * bsize) / 2 ** 30;
}
