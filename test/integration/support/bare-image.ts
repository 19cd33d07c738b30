import { execFileSync } from "node:child_process";
import { createReadStream, existsSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, join } from "node:path";
import { BASELINE_PACKAGES } from "../../../cloud-init/baseline.ts";
import { cacheDirectory } from "../../../runtime/local/directories.ts";
import { ensureImage } from "../../../runtime/local/image.ts";
import { digestOf } from "../../../runtime/spec/digest.ts";

/** Reads what the image's own apt would fetch, and has the image ask nobody but ARCHIVE from then on. */
const PREPARE = `set -eu
work=$1 image=$2 archive=$3; shift 3
mkdir -p "$work/root" "$work/archive/partial"
cp --sparse=always "$image" "$work/root.img"
mount -o loop "$work/root.img" "$work/root"
mount --bind /proc "$work/root/proc"
mount --bind /dev "$work/root/dev"
mount --bind "$work/archive" "$work/root/var/cache/apt/archives"
rm -f "$work/root/etc/resolv.conf"
cp /etc/resolv.conf "$work/root/etc/resolv.conf"
[ ! -e "$work/root/usr/sbin/nft" ]
chroot "$work/root" apt-get -qq update
chroot "$work/root" apt-get -qq install --no-install-recommends --download-only "$@"
umount "$work/root/var/cache/apt/archives"
: >"$work/root/etc/resolv.conf"
rm -rf "$work/root"/var/lib/apt/lists/* "$work/archive/partial" "$work/archive/lock"
cd "$work/archive"
for file in *.deb; do
  dpkg-deb --field "$file"
  printf 'Filename: ./%s\\nSize: %s\\nSHA256: %s\\n\\n' "$file" "$(stat -c %s "$file")" "$(sha256sum "$file" | cut -d' ' -f1)"
done >Packages
rm -rf "$work/root"/etc/apt/sources.list.d/*
echo "deb [trusted=yes] $archive ./" >"$work/root/etc/apt/sources.list"
umount "$work/root/dev" "$work/root/proc" "$work/root"
rmdir "$work/root"
`;

/**
 * An image of Debian 13 with none of the baseline's packages, as clouds have them, and an archive that holds just what it
 * lacks. Cached, since it takes a minute or two; needs the image's own archive only while it is made.
 * @param address where its apt will look for the archive, `http://198.51.100.1`
 */
export async function bareImage(address: string): Promise<{ digest: string; path: string; archive: string }> {
  const bare = await ensureImage({ os: "debian-13", packages: [], progress: console.log });
  const digest = digestOf({ bare: bare.digest, packages: BASELINE_PACKAGES, address, recipe: PREPARE });
  const folder = join(cacheDirectory(), "bare-images", digest);
  if (!existsSync(folder)) {
    const work = `${folder}.${process.pid}`;
    mkdirSync(work, { recursive: true });
    try {
      const script = ["bash", "-c", PREPARE, "bash", work, bare.path, address, ...BASELINE_PACKAGES];
      execFileSync("unshare", ["-m", "--propagation", "private", ...script], {
        stdio: ["ignore", "ignore", "inherit"],
      });
      renameSync(work, folder);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  }
  return { digest, path: join(folder, "root.img"), archive: join(folder, "archive") };
}

/** Serves such an archive on a port of this process's loopback, and remembers what was asked for. */
export class Archive {
  readonly fetched: string[] = [];
  readonly #server: Server;
  #first: Promise<void> | undefined;

  /** @param beforeFirst the first answer waits for it, and with it all that is asked for later */
  constructor(folder: string, beforeFirst: () => Promise<void>) {
    this.#server = createServer(async (request, response) => {
      // apt quotes the per cent sign of an epoch
      const name = decodeURIComponent(basename(request.url ?? ""));
      this.#first ??= beforeFirst();
      await this.#first;
      this.fetched.push(name);
      const file = join(folder, name);
      if (!existsSync(file)) return response.writeHead(404).end();
      response.writeHead(200, { "content-length": statSync(file).size });
      createReadStream(file).pipe(response);
    });
  }

  async start(): Promise<number> {
    await new Promise<void>((ready) => this.#server.listen(0, "127.0.0.1", () => ready()));
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }
}
