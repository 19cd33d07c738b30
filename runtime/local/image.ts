import { mkdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { digestOf, sha256 } from "../spec/digest.ts";
import type { OperatingSystem } from "../spec/operating-system.ts";
import { cacheDirectory } from "./directories.ts";
import { run } from "./run-program.ts";

const RECIPE = join(import.meta.dirname, "build-image.sh");
const SUITES: Readonly<Record<OperatingSystem, string>> = {
  "debian-12": "bookworm",
  "debian-13": "trixie",
  "ubuntu-24.04": "noble",
};
/** The smallest root disk the spec takes: an image must fit into it. */
const IMAGE_SIZE = "3G";

/** What a machine needs to boot, be seeded, and be reached; what the baseline installs is given by the caller. */
const BASE_PACKAGES = [
  "ca-certificates",
  "cloud-init",
  "dbus",
  "e2fsprogs",
  "iproute2",
  "kmod",
  "libpam-systemd",
  "netbase",
  "netplan.io",
  "openssh-server",
  "procps",
  "systemd",
  "systemd-resolved",
  "systemd-sysv",
  "udev",
];

/** The kernel, and what the smallest installation of the one has and that of the other lacks. */
const OWN_PACKAGES: Readonly<Record<OperatingSystem, readonly string[]>> = {
  "debian-12": ["linux-image-cloud-amd64"],
  "debian-13": ["linux-image-cloud-amd64"],
  "ubuntu-24.04": ["apt", "linux-image-virtual"],
};

export interface ImageInputs {
  readonly os: OperatingSystem;
  /** Debian packages to bake in besides those that every image has. */
  readonly packages: readonly string[];
}

/**
 * Digest of everything that decides what an image is: operating system, architecture, packages in any order, and the text
 * of the build recipe. No date is among them: an image is built once, and its packages are brought up to date on the
 * machine by unattended-upgrades.
 */
export async function imageDigest(inputs: ImageInputs): Promise<string> {
  return digestOfImage(inputs, await readFile(RECIPE, "utf8"));
}

/** The pure part of {@link imageDigest}: the recipe's text is given. */
export function digestOfImage(inputs: ImageInputs, recipe: string): string {
  return digestOf({
    suite: SUITES[inputs.os],
    architecture: process.arch,
    packages: packagesOf(inputs),
    recipe: sha256(recipe),
    size: IMAGE_SIZE,
  });
}

function packagesOf(inputs: ImageInputs): string[] {
  for (const name of inputs.packages)
    if (!/^[a-z0-9][a-z0-9+.-]+$/.test(name))
      throw new Error(`packages: received ${JSON.stringify(name)}, which is no name of a Debian package`);
  return [...new Set([...BASE_PACKAGES, ...OWN_PACKAGES[inputs.os], ...inputs.packages])].sort();
}

/**
 * The root file system image of these inputs: found in the cache (`images/<digest>/root.img` below the cache directory,
 * raw ext4, sparse, without host keys and with an empty machine id), else built there by mmdebstrap, which takes a minute
 * or two and needs root, and for Ubuntu the keys of its archive (Debian's package ubuntu-keyring). `vmlinuz` beside it is
 * its kernel, `packages.txt` lists what is in it. Two commands that need the same image at once build it once; an interrupted
 * build leaves nothing that counts as an image, and the next build clears it away.
 * @throws if a package name is malformed or the build fails, with the last lines of the build
 */
export async function ensureImage(
  inputs: ImageInputs & { readonly progress: (line: string) => void },
): Promise<{ digest: string; path: string }> {
  const digest = await imageDigest(inputs);
  const images = join(cacheDirectory(), "images");
  const path = join(images, digest, "root.img");
  if (await exists(path)) return { digest, path };

  await mkdir(images, { recursive: true, mode: 0o700 });
  const env = {
    IMAGES: images,
    DIGEST: digest,
    SUITE: SUITES[inputs.os],
    PACKAGES: packagesOf(inputs).join(","),
    SIZE: IMAGE_SIZE,
  };
  inputs.progress("building the machine's image: takes about a minute");
  const onLine = (line: string) => {
    const step = stepOf(line);
    if (step !== undefined) inputs.progress(`image: ${step}`);
  };
  await run("flock", [join(images, "lock"), "bash", RECIPE], { env, onLine });
  return { digest, path };
}

/** The build step that a line of mmdebstrap or the recipe announces; its other lines are for who looks into a failure. */
function stepOf(line: string): string | undefined {
  return /^I: (.+)$/.exec(line)?.[1];
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
