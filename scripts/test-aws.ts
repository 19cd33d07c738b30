// stacks/aws.ts by the real AWS provider against moto's server: validate, plan, apply, destroy. Runs where Terraform finds a
// provider, by a mirror or the registry, and moto is installed (PyPI: moto[server]); says what it lacks elsewhere. The push
// is only recorded, since moto's instances are not there.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { App } from "cdktf";
import { motoMissing, startMoto } from "../test/fixtures/moto.ts";

interface Ran {
  readonly code: number;
  readonly output: string;
}

const folder = mkdtempSync(join(tmpdir(), "bailiwick-aws-"));
const stack = join(folder, "out/stacks/aws");
const env: NodeJS.ProcessEnv = {
  ...process.env,
  ...{ AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test", AWS_REGION: "eu-central-1" },
  ...{ AWS_EC2_METADATA_DISABLED: "true", CHECKPOINT_DISABLE: "1", TF_IN_AUTOMATION: "1", RECORDING_FOLDER: folder },
};

function run(program: string, ...args: string[]): Promise<Ran> {
  return new Promise((done) => {
    execFile(program, args, { cwd: stack, env, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : 127;
      done({ code, output: stdout + stderr });
    });
  });
}

async function main(): Promise<void> {
  process.env.BAILIWICK_ADMIN_KEY ||= `ssh-ed25519 ${"A".repeat(68)} ada`;
  process.env.BAILIWICK_ADMIN_CIDR ||= "203.0.113.7/32";
  // After the environment is set: the stack reads it where it is made.
  const { AwsStack } = await import("../stacks/aws.ts");
  const context = { "bailiwick:command": resolve("test/stacks/recording-command.mjs") };
  const app = new App({ outdir: join(folder, "out"), context });
  new AwsStack(app, "aws");
  app.synth();
  const init = await run("terraform", "init", "-input=false", "-no-color");
  if (init.code !== 0) return console.log("not run: no AWS provider: terraform init finds hashicorp/aws nowhere");
  const missing = motoMissing();
  if (missing !== undefined) return console.log(`not run: ${missing}`);
  const server = await startMoto(resolve("test/fixtures/amis.json"));
  env.AWS_ENDPOINT_URL = server.url;
  try {
    for (const args of [["validate"], ["plan"], ["apply", "-auto-approve"], ["apply", "-destroy", "-auto-approve"]]) {
      const { code, output } = await run("terraform", ...args, "-no-color");
      console.log(`${code === 0 ? "held" : "failed"}: terraform ${args.join(" ")}`);
      if (code !== 0) throw new Error(output);
    }
  } finally {
    server.stop();
  }
}

main()
  .catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  })
  .finally(() => rmSync(folder, { recursive: true }));
