// AwsMachine by the real AWS provider against moto's server. stacks/aws.ts: validate, plan, apply, a second plan, one for changed
// access and agents, destroy; one of a protected machine with another key for its volume, which is refused. With everything that moto does not know (endpoint, snapshots): validate and plan. Runs where
// Terraform finds a provider, by `npm run providers:aws`, another mirror or the registry, and moto is installed (PyPI:
// moto[server]); says what it lacks elsewhere. The push is only recorded, since moto's instances are not there.
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { App, LocalBackend, TerraformStack } from "cdktf";
import { Access, AgentHost, AwsMachine } from "../constructs/index.ts";
import { motoMissing, startMoto } from "../test/fixtures/moto.ts";
import { mirrorConfig } from "./provider-mirror.ts";

interface Ran {
  readonly code: number;
  readonly output: string;
}

const CANARY = "canary-aws-provider-91c7e2";
const PRIVATE_KEY = /b3BlbnNzaC1rZXk|BEGIN OPENSSH/;
const KEY_ARN = "arn:aws:kms:eu-central-1:123456789012:key/5b1c8e56-0000-4000-8000-000000000001";
const ROLE_ARN = "arn:aws:iam::123456789012:role/snapshots";

const folder = mkdtempSync(join(tmpdir(), "bailiwick-aws-"));
const state = join(folder, "terraform.tfstate");
const env: NodeJS.ProcessEnv = {
  ...process.env,
  // Terraform only warns of a file that is not there
  ...(existsSync(process.env.TF_CLI_CONFIG_FILE ?? "") ? {} : { TF_CLI_CONFIG_FILE: mirrorConfig }),
  ...{ AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test", AWS_REGION: "eu-central-1", AWS_MAX_ATTEMPTS: "3" },
  ...{ AWS_EC2_METADATA_DISABLED: "true", CHECKPOINT_DISABLE: "1", TF_IN_AUTOMATION: "1", RECORDING_FOLDER: folder },
};

function terraform(stack: string, ...args: string[]): Promise<Ran> {
  const cwd = join(folder, "out/stacks", stack);
  return new Promise((done) => {
    execFile("terraform", [...args, "-no-color"], { cwd, env, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : 127;
      done({ code, output: stdout + stderr });
    });
  });
}

/** @throws Error with `found` unless it holds */
function held(what: string, holds: boolean, found: string): void {
  console.log(`${holds ? "held" : "failed"}: ${what}`);
  if (!holds) throw new Error(found);
}

async function does(stack: string, ...args: string[]): Promise<string> {
  const { code, output } = await terraform(stack, ...args);
  held(`${stack}: terraform ${args.join(" ")}`, code === 0, output);
  return output;
}

function synth(make: (app: App) => TerraformStack): void {
  const context = { "bailiwick:command": resolve("test/stacks/recording-command.mjs") };
  const app = new App({ outdir: join(folder, "out"), context });
  const stack = make(app);
  if (stack.node.id === "aws") new LocalBackend(stack, { path: state });
  app.synth();
}

interface Change {
  readonly actions: readonly string[];
  readonly before: Record<string, unknown> | null;
  readonly after: Record<string, unknown> | null;
}

/** Moto does not tell the groups of an instance that it was given with its network interface, so that each plan gives them anew. */
function isUntold({ actions, before, after }: Change): boolean {
  const differs = Object.keys(after ?? {}).filter(
    (key) => JSON.stringify(before?.[key]) !== JSON.stringify(after?.[key]),
  );
  return actions.join() === "update" && differs.join() === "vpc_security_group_ids";
}

/** What a plan of the stack would do, a line for each resource: its type, and `create`, `update`, `delete`. */
async function changes(stack: string): Promise<string[]> {
  await does(stack, "plan", "-out=changed");
  const { output } = await terraform(stack, "show", "-json", "changed");
  const { resource_changes: all } = JSON.parse(output) as {
    resource_changes: { type: string; change: Change }[];
  };
  return all
    .filter(({ type, change }) => !(type === "aws_instance" && isUntold(change)))
    .map(({ type, change }) => `${type} ${change.actions.join("+")}`)
    .filter((one) => !/ (no-op|read)$/.test(one))
    .sort();
}

/** Everything that AwsMachine takes besides what stacks/aws.ts gives it. */
function everything(app: App): TerraformStack {
  const stack = new TerraformStack(app, "everything");
  const machine = new AwsMachine(stack, "machine", {
    ...{ instanceType: "t4g.medium", image: "ubuntu-24.04", inbound: "instance-connect", kmsKeyArn: KEY_ARN },
    ...{ protect: true, snapshots: { roleArn: ROLE_ARN, everyHours: 12, keep: 7 } },
  });
  const key = process.env.BAILIWICK_ADMIN_KEY ?? "";
  new AgentHost(stack, "quiet", { machine, access: Access.ssh({ admins: { ada: key }, from: ["203.0.113.7/32"] }) });
  return stack;
}

/** A machine that is protected, or not any more, with this key for its volume. */
function guarded(protect: boolean, more: { kmsKeyArn?: string } = {}): (app: App) => TerraformStack {
  return (app) => {
    const stack = new TerraformStack(app, "guarded");
    const machine = new AwsMachine(stack, "machine", { instanceType: "t3.medium", protect, ...more });
    const key = process.env.BAILIWICK_ADMIN_KEY ?? "";
    new AgentHost(stack, "calm", { machine, access: Access.ssh({ admins: { ada: key }, from: ["203.0.113.7/32"] }) });
    return stack;
  };
}

/** What protects the data volume from a plan, and what it takes to be rid of it. */
async function guards(): Promise<void> {
  synth(guarded(true));
  await does("guarded", "init", "-input=false");
  await does("guarded", "apply", "-auto-approve");
  synth(guarded(true, { kmsKeyArn: KEY_ARN }));
  const { code, output } = await terraform("guarded", "plan");
  const refused =
    code !== 0 && /aws_ebs_volume\.\w+ has lifecycle\.prevent_destroy\s+set/.test(output.replaceAll(/[\s│]+/g, " "));
  held("no plan replaces the data volume of a protected machine", refused, output);
  synth(guarded(false));
  await does("guarded", "apply", "-auto-approve");
  await does("guarded", "apply", "-destroy", "-auto-approve");
}

async function main(): Promise<void> {
  process.env.BAILIWICK_ADMIN_KEY = `ssh-ed25519 ${"A".repeat(68)} ada`;
  process.env.BAILIWICK_ADMIN_CIDR = "203.0.113.7/32";
  process.env.ANTHROPIC_API_KEY = CANARY;
  // After the environment is set: the stack reads it where it is made.
  const { AwsStack } = await import("../stacks/aws.ts");
  synth((app) => new AwsStack(app, "aws"));
  if ((await terraform("aws", "init", "-input=false")).code !== 0)
    return console.log("not run: no AWS provider: terraform init finds hashicorp/aws nowhere; npm run providers:aws");
  const missing = motoMissing();
  if (missing !== undefined) return console.log(`not run: ${missing}`);
  const server = await startMoto(resolve("test/fixtures/amis.json"));
  env.AWS_ENDPOINT_URL = server.url;
  try {
    await does("aws", "validate");
    const plan = await does("aws", "plan");
    const applied = await does("aws", "apply", "-auto-approve");
    const plain = !PRIVATE_KEY.test(plan + applied);
    held("no plan shows the one-time key", plain, "BEGIN OPENSSH or its like is in the output of plan or apply");
    const text = readFileSync(state, "utf8") + plan + applied;
    held("no secret is in plan or state", !text.includes(CANARY), `${CANARY} is in it`);
    const again = await changes("aws");
    held("a second plan has nothing to do", again.length === 0, again.join("\n"));

    process.env.BAILIWICK_ADMIN_CIDR = "198.51.100.0/24,203.0.113.9/32";
    synth((app) => {
      const stack = new AwsStack(app, "aws");
      const host = stack.node.findAll().find((one): one is AgentHost => one instanceof AgentHost);
      host?.addAgent("second").allowEgress("api.example.com");
      return stack;
    });
    const found = await changes("aws");
    const rules = found.filter((one) => one.startsWith("aws_"));
    const others = rules.filter((one) => !one.startsWith("aws_vpc_security_group_ingress_rule "));
    held("other networks and agents change rules alone", rules.length > 0 && others.length === 0, found.join("\n"));

    await does("aws", "apply", "-destroy", "-auto-approve");
    const { resources } = JSON.parse(readFileSync(state, "utf8")) as { resources: object[] };
    held("nothing is left in the state", resources.length === 0, JSON.stringify(resources));

    await guards();

    synth(everything);
    await does("everything", "init", "-input=false");
    await does("everything", "validate");
    await does("everything", "plan");
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
