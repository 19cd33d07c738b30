import { execFile, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { App, LocalBackend, TerraformStack } from "cdktf";
import { Bindings, isLocal, type LocalBindings } from "../../runtime/spec/binding.ts";

/** One call of a provisioner, as recording-command.mjs noted it. */
export interface Call {
  verb: string;
  argv: string[];
  cwd: string;
  userData?: string;
  bindings?: string;
}

export interface Run {
  code: number;
  output: string;
}

export const terraformMissing = spawnSync("terraform", ["version"]).error !== undefined;
export const NOT_RUN = "not run: terraform is not on the PATH";

/** A project in a temporary folder that real Terraform deploys; the `bailiwick` command only notes how it is called. */
export class TerraformProject {
  readonly folder = mkdtempSync(join(tmpdir(), "bailiwick-terraform-"));
  readonly stackFolder = join(this.folder, "cdktf.out", "stacks", "box");
  readonly #extra: Readonly<Record<string, string>>;
  #seen = 0;

  /** @param extra environment variables of every run, besides those of the tests' own */
  constructor(extra: Readonly<Record<string, string>> = {}) {
    this.#extra = extra;
  }

  /**
   * A synth of stack `box` in a fresh app, as each run of cdktf makes one.
   * @param keep where its state is; default: a file of the project
   */
  synth(
    build: (stack: TerraformStack) => void,
    keep: (stack: TerraformStack) => void = (stack) =>
      new LocalBackend(stack, { path: join(this.folder, "terraform.tfstate") }),
  ): void {
    const context = { "bailiwick:command": resolve("test/stacks/recording-command.mjs") };
    const app = new App({ outdir: join(this.folder, "cdktf.out"), context });
    const stack = new TerraformStack(app, "box");
    keep(stack);
    build(stack);
    app.synth();
  }

  terraform(...args: string[]): Promise<Run> {
    const env = { ...process.env, ...this.env(), TF_IN_AUTOMATION: "1" };
    return run("terraform", args, { cwd: this.stackFolder, env });
  }

  env(): Record<string, string> {
    const config = join(this.folder, "terraformrc");
    if (!existsSync(config)) writeFileSync(config, "disable_checkpoint = true\n");
    return { CHECKPOINT_DISABLE: "1", TF_CLI_CONFIG_FILE: config, RECORDING_FOLDER: this.folder, ...this.#extra };
  }

  async init(): Promise<void> {
    const { code, output } = await this.terraform("init", "-no-color", "-input=false");
    if (code !== 0) throw new Error(output);
  }

  apply(...args: string[]): Promise<Run> {
    return this.terraform("apply", "-auto-approve", "-no-color", "-input=false", ...args);
  }

  /** Calls since this was last asked. */
  calls(): Call[] {
    const file = join(this.folder, "calls.jsonl");
    if (!existsSync(file)) return [];
    const all = readFileSync(file, "utf8").trim().split("\n");
    const fresh = all.slice(this.#seen).map((line) => JSON.parse(line) as Call);
    this.#seen = all.length;
    return fresh;
  }

  verbs(): string[] {
    return this.calls().map(({ verb }) => verb);
  }

  failing(verb: string, fails: boolean): void {
    if (fails) writeFileSync(join(this.folder, `fail-${verb}`), "");
    else rmSync(join(this.folder, `fail-${verb}`));
  }

  /** Terraform's name of a resource of the stack, by its path in the construct tree. */
  address(path: string): string {
    const { resource } = JSON.parse(readFileSync(join(this.stackFolder, "cdk.tf.json"), "utf8"));
    const found = Object.entries<{ "//": { metadata: { path: string } } }>(resource.terraform_data).find(
      ([, r]) => r["//"].metadata.path === path,
    );
    if (found === undefined) throw new Error(`no resource at ${path}`);
    return `terraform_data.${found[0]}`;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }
}

/** The bindings a push was given, as the real one parses them. */
export function bindingsOf(call: Call | undefined): LocalBindings {
  const bindings = Bindings.parse(JSON.parse(call?.bindings ?? "null"));
  if (!isLocal(bindings)) throw new Error("the machine is not local");
  return bindings;
}

export function run(program: string, args: string[], options: { cwd: string; env: NodeJS.ProcessEnv }): Promise<Run> {
  return new Promise((done) => {
    execFile(program, args, { ...options, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : 1;
      done({ code, output: stdout + stderr });
    });
  });
}
