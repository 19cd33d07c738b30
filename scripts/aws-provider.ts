// The real AWS provider in the Terraform file-system mirror of provider-mirror.ts, built once from its Go module with the
// services that AwsMachine uses, and no other: those are four minutes of a processor, and there are some 250 more. What is
// changed of it are its two lists of services. Prints the file for TF_CLI_CONFIG_FILE. Nothing of the provider is in this repository.
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { inMirror } from "./provider-mirror.ts";

const MODULE = "github.com/hashicorp/terraform-provider-aws";
// To Go its tags since 2.0 are no versions of this module, a commit is. This one says of itself that it is 6.47.1.
const COMMIT = "v1.60.1-0.20260602190131-5f2286d6d836";
const SUM = "h1:haLmsj0WF7e6d2TGbk0fbz5qWdA9f8w9sNpMe6J6WqM=";
const VERSION = "6.47.1";
const PACKAGES = ["dlm", "ec2", "kms", "meta", "sts"];
/** Of the SDK's: besides those of the packages, what the provider itself and organizations, which sts needs, call. */
const CLIENTS = ["account", "dlm", "ec2", "iam", "kms", "organizations", "s3", "sts"];

const run = promisify(execFile);
const env = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-buildvcs=false" };

async function build(binary: string): Promise<void> {
  const work = mkdtempSync(join(tmpdir(), "bailiwick-aws-provider-"));
  try {
    const { stdout } = await run("go", ["mod", "download", "-json", `${MODULE}@${COMMIT}`], { cwd: work, env });
    const { Dir, Sum } = JSON.parse(stdout) as { Dir: string; Sum: string };
    if (Sum !== SUM) throw new Error(`${MODULE}@${COMMIT} has ${Sum}; ${SUM} is pinned`);
    await run("cp", ["-r", "--no-preserve=mode", `${Dir}/.`, work]);
    reduce(join(work, "internal/provider/sdkv2/service_packages_gen.go"), PACKAGES, [
      /^\t"github\.com\/hashicorp\/terraform-provider-aws\/internal\/service\/(\w+)"\n/gm,
      /^\t\t(\w+)\.ServicePackage\(ctx\),\n/gm,
    ]);
    reduce(join(work, "internal/conns/awsclient_gen.go"), CLIENTS, [
      /^\t(?:\w+ )?"github\.com\/aws\/aws-sdk-go-v2\/service\/(\w+)"\n/gm,
      /^func \(c \*AWSClient\) \w+\(ctx context\.Context\) \*(\w+)\.Client \{\n[^}]*\n\}\n\n?/gm,
    ]);
    await run("go", ["build", "-trimpath", "-ldflags=-s -w", "-o", binary, "."], {
      cwd: work,
      env,
      maxBuffer: 1 << 28,
    });
  } finally {
    rmSync(work, { recursive: true });
  }
}

/** Takes everything out of a file that one of the patterns matches, unless it is of one of those that are kept. */
function reduce(file: string, kept: readonly string[], patterns: readonly RegExp[]): void {
  const before = readFileSync(file, "utf8");
  const after = patterns.reduce(
    (text, pattern) => text.replace(pattern, (all: string, name: string) => (kept.includes(name) ? all : "")),
    before,
  );
  if (after === before) throw new Error(`${file}: no service was found that could be left out; its form has changed`);
  writeFileSync(file, after);
}

inMirror("registry.terraform.io/hashicorp/aws", VERSION, (binary) => {
  console.error(`building ${MODULE} ${VERSION} with ${PACKAGES.join(", ")}`);
  return build(binary);
}).then(console.log, (error) => {
  console.error(error.code === "ENOENT" ? "go is not installed here" : error.message);
  process.exitCode = 1;
});
