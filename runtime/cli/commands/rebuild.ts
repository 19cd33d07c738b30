import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { requireSecretsAtHand } from "../../release/secret-readers.ts";
import type { Command } from "../command.ts";
import { EXIT, UsageError } from "../errors.ts";
import type { Output } from "../output.ts";
import { findHost, type ProjectHost, projectRoot, readBindings } from "../project.ts";

export const rebuild: Command = {
  usage: "rebuild <host> [--json]",
  summary: "replace the machine by a new one from the same code; the data volume, and all on it, stays",
  words: [1, 1],
  async run(call, output) {
    const name = call.words[0] ?? "";
    const root = projectRoot();
    const before = await readBindings(findHost(name));
    // A new machine is first trusted by a one-time key that nobody has seen: that of a synth of now.
    output.progress("synthesising, for a new one-time host key");
    await run("npx", ["--no-install", "cdktf", "synth"], root, output);
    const host = findHost(name);
    await requireSecretsAtHand(host.spec, root);
    const address = generationOf(host);
    const terraform = process.env.TERRAFORM_BINARY_NAME ?? "terraform";
    await run(terraform, ["init", "-input=false", "-no-color"], host.stackDir, output);
    output.progress(`replacing the machine of "${name}"`);
    const apply = ["apply", "-auto-approve", "-input=false", "-no-color", `-replace=${address}`];
    await run(terraform, apply, host.stackDir, output);
    const after = await readBindings(host);
    output.document({ host: name, before: before.machine.instance, instance: after.machine.instance });
    output.say(`${name}: machine ${after.machine.instance} replaces ${before.machine.instance}`);
    return EXIT.held;
  },
};

/** Address of the resource whose replacement makes a new machine, with a new one-time key. */
function generationOf({ name, stackDir }: ProjectHost): string {
  const { resource } = JSON.parse(readFileSync(join(stackDir, "cdk.tf.json"), "utf8")) as {
    resource?: { terraform_data?: Record<string, Resource> };
  };
  const all = Object.entries(resource?.terraform_data ?? {});
  const pathOf = (one: Resource) => one["//"]?.metadata?.path ?? "";
  const release = all.map(([, one]) => one).find((one) => pathOf(one).endsWith("/release") && pushes(one, name));
  const path = release === undefined ? "" : pathOf(release).replace(/release$/, "generation");
  const found = all.find(([, one]) => pathOf(one) === path);
  if (found === undefined) throw new UsageError(`host "${name}" is not in ${stackDir}; run \`npx cdktf synth\``);
  return `terraform_data.${found[0]}`;
}

interface Resource {
  readonly "//"?: { readonly metadata?: { readonly path?: string } };
  readonly provisioner?: readonly { readonly "local-exec"?: { readonly command?: string } }[];
}

function pushes({ provisioner = [] }: Resource, host: string): boolean {
  return provisioner.some((one) => / '?push'? '?([a-z0-9-]+)'? /.exec(one["local-exec"]?.command ?? "")?.[1] === host);
}

/** Runs a program with its words as progress. @throws with its last lines */
function run(program: string, args: readonly string[], cwd: string, output: Output): Promise<void> {
  return new Promise((done, fail) => {
    const env = { ...process.env, CHECKPOINT_DISABLE: "1", TF_IN_AUTOMATION: "1" };
    const child = spawn(program, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
        for (const line of chunk.split("\n")) if (line.trim() !== "") output.progress(`  ${line}`);
      });
    child.on("error", (error) => fail(new Error(`${program} could not be run: ${error.message}`)));
    child.on("close", (code) =>
      code === 0
        ? done()
        : fail(
            new Error(
              `${program} ${args[0]} ended with exit code ${code}:\n${text.trim().split("\n").slice(-25).join("\n")}`,
            ),
          ),
    );
  });
}
