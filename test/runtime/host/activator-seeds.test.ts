import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildSync } from "esbuild";
import { afterAll, describe, expect, it } from "vitest";

// The activator's own code on the paths of a host, which lie in memory and in a mount namespace of each test.

const missing = process.platform === "linux" && process.getuid?.() === 0 ? undefined : "mounts are root's to make";
if (missing !== undefined) console.log(`not run: seeds of workspaces: ${missing}`);

const folder = mkdtempSync(join(tmpdir(), "bailiwick-seeds-"));
afterAll(() => rmSync(folder, { recursive: true }));

const bundle = join(folder, "seed.cjs");
buildSync({
  stdin: {
    contents: `
      import { seedWorkspaces } from "./runtime/host/activator/seeds.ts";
      seedWorkspaces({ seeds: JSON.parse(process.argv[2] ?? "") } as never).catch((error: Error) => {
        console.log(error.message);
        process.exit(3);
      });`,
    resolveDir: process.cwd(),
    loader: "ts",
  },
  outfile: bundle,
  bundle: true,
  platform: "node",
  format: "cjs",
  logLevel: "error",
});

const COMPONENT = "c".repeat(64);
const DESK = "/var/lib/bailiwick/workspaces/desk";

/** Seeds a workspace on a host that a script has prepared; what another script then finds. */
function seeded(before: string, after: string, path = DESK): string {
  const script = `
mount -t tmpfs tmpfs /var/lib && mount -t tmpfs tmpfs /opt
mkdir -p /var/lib/bailiwick /opt/bailiwick/components/${COMPONENT}/bin
cd /opt/bailiwick/components/${COMPONENT}
echo seed >file; echo tool >bin/tool; chmod 755 bin/tool; ln -s file link; touch -d 2000-01-01 file
cd /
${before}
"$1" "$2" '${JSON.stringify([{ path, component: COMPONENT }])}' || echo "exit $?"
${after}
true`;
  return execFileSync("unshare", ["--mount", "sh", "-c", script, "sh", process.execPath, bundle], { encoding: "utf8" });
}

describe.skipIf(missing !== undefined)("a workspace with a seed", () => {
  it("is made of it whole when it is not there: modes, links and times as they are in the component", () => {
    expect(
      seeded(
        "",
        `cd ${DESK}; cat file link; stat -c '%n %A %Y' file bin/tool link | cut -d' ' -f1,2; stat -c %Y file; ls /var/lib/bailiwick/workspaces`,
      ),
    ).toBe("seed\nseed\nfile -rw-r--r--\nbin/tool -rwxr-xr-x\nlink lrwxrwxrwx\n946684800\ndesk\n");
  });

  it.each([
    ["something is in it", `mkdir -p ${DESK}; echo own >${DESK}/file`, "file\nown\n"],
    ["nothing is in it", `mkdir -p ${DESK}`, ""],
    ["it is a link to elsewhere", `mkdir -p ${DESK}-old; ln -s ${DESK}-old ${DESK}`, ""],
  ])("is left alone when it is there and %s", (_, before, found) => {
    expect(seeded(before, `ls ${DESK}; cat ${DESK}/file 2>/dev/null`)).toBe(found);
  });

  it("is made anew of what an interrupted switch had left half made", () => {
    const before = `mkdir -p ${DESK}.seed; echo half >${DESK}.seed/half`;
    expect(seeded(before, `ls ${DESK}; ls /var/lib/bailiwick/workspaces`)).toBe("bin\nfile\nlink\ndesk\n");
  });

  it.each(["/var/lib/bailiwick/agents/ops", "/etc/desk", "/var/lib/bailiwick/workspaces/a/b"])(
    "is refused at %s, where no workspace is",
    (path) => {
      expect(seeded("", `ls ${path} 2>/dev/null`, path)).toBe(
        `the release seeds ${path}, which is no workspace\nexit 3\n`,
      );
    },
  );
});
