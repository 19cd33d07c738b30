// A Terraform file-system mirror with the real Hetzner provider, in ~/.cache/bailiwick: built once from the Go module of
// its own name, at the version and with the hashes that providers/hcloud/{go.mod,go.sum} pin. Prints the file for
// TF_CLI_CONFIG_FILE. Nothing of the provider is in this repository.
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const MODULE = "github.com/hetznercloud/terraform-provider-hcloud";
const SOURCE = "registry.terraform.io/hetznercloud/hcloud";
const folder = fileURLToPath(new URL("../providers/hcloud/", import.meta.url));
const mirror = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "bailiwick", "terraform-mirror");
/** What TF_CLI_CONFIG_FILE is to name, once a provider is in the mirror. */
export const mirrorConfig = join(mirror, "terraformrc");

/** Version of the provider, from go.mod, without the `v`. */
export function providerVersion(): string {
  const found = new RegExp(`${MODULE} v([0-9.]+)(?: |$)`, "m").exec(readFileSync(join(folder, "go.mod"), "utf8"));
  if (found?.[1] === undefined) throw new Error(`${folder}go.mod names no version of ${MODULE}`);
  return found[1];
}

/**
 * The mirror, built if it is not there yet.
 * @returns path of a Terraform CLI configuration that takes this provider from the mirror and no other from anywhere
 * @throws Error with what Go said, or naming Go if there is none
 */
export async function providerMirror(say: (line: string) => void = () => {}): Promise<string> {
  const version = providerVersion();
  return inMirror(SOURCE, version, (binary) => {
    say(`building ${MODULE} ${version}`);
    return build(binary, version);
  });
}

/**
 * A provider's place in the mirror, made if it is not there yet.
 * @param source `registry.terraform.io/<namespace>/<name>`
 * @param make writes the provider's program to the path that it is given
 * @returns path of the Terraform CLI configuration for the mirror
 */
export async function inMirror(
  source: string,
  version: string,
  make: (binary: string) => Promise<void>,
): Promise<string> {
  const platform = `${process.platform}_${process.arch === "x64" ? "amd64" : process.arch}`;
  const target = join(mirror, source, version, platform);
  const binary = join(target, `terraform-provider-${basename(source)}_v${version}`);
  if (!existsSync(binary)) {
    mkdirSync(target, { recursive: true });
    const draft = `${binary}.${process.pid}`;
    try {
      await make(draft);
      renameSync(draft, binary);
    } finally {
      rmSync(draft, { force: true });
    }
  }
  const text = `disable_checkpoint = true
provider_installation {
  filesystem_mirror {
    path = ${JSON.stringify(mirror)}
  }
}
`;
  if (!existsSync(mirrorConfig) || readFileSync(mirrorConfig, "utf8") !== text) {
    writeFileSync(`${mirrorConfig}.${process.pid}`, text);
    renameSync(`${mirrorConfig}.${process.pid}`, mirrorConfig);
  }
  return mirrorConfig;
}

function build(binary: string, version: string): Promise<void> {
  const args = ["build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", binary, MODULE];
  const env = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-buildvcs=false" };
  return new Promise((done, fail) => {
    execFile("go", args, { cwd: folder, env }, (error, _stdout, stderr) => {
      if (error === null) return done();
      const reason = error.code === "ENOENT" ? "go is not installed here" : stderr.trim();
      fail(new Error(`${MODULE} ${version} could not be built: ${reason}`));
    });
  });
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url))
  providerMirror((line) => console.error(line)).then(console.log, (error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
