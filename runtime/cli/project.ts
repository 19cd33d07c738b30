import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { Bindings } from "../spec/binding.ts";
import { type HostSpec, parseHostSpec } from "../spec/host-spec.ts";
import { UsageError } from "./errors.ts";

/** One host of the project as synth left it: its spec and the stack that deploys it. */
export interface ProjectHost {
  name: string;
  spec: HostSpec;
  specPath: string;
  stack: string;
  /** Folder of the synthesised Terraform. */
  stackDir: string;
}

/** The folder with cdktf.json, from here upwards. @throws UsageError if there is none */
export function projectRoot(from: string = process.cwd()): string {
  for (let dir = resolve(from); ; dir = dirname(dir)) {
    if (existsSync(join(dir, "cdktf.json"))) return dir;
    if (dir === dirname(dir))
      throw new UsageError(`there is no cdktf.json in ${resolve(from)} or above; run this in your project's folder`);
  }
}

function outputDir(root: string): string {
  const { output } = JSON.parse(readFileSync(join(root, "cdktf.json"), "utf8")) as { output?: string };
  return join(root, output ?? "cdktf.out");
}

/** Every host that the last synth wrote. */
export function projectHosts(root: string): ProjectHost[] {
  const stacks = join(outputDir(root), "stacks");
  if (!existsSync(stacks)) return [];
  return readdirSync(stacks).flatMap((stack) => {
    const dir = join(stacks, stack, "bailiwick");
    if (!existsSync(dir)) return [];
    return readdirSync(dir)
      .filter((file) => file.endsWith(".json"))
      .map((file) => {
        const specPath = join(dir, file);
        const spec = parseHostSpec(JSON.parse(readFileSync(specPath, "utf8")));
        return { name: spec.name, spec, specPath, stack, stackDir: join(stacks, stack) };
      });
  });
}

/** @throws UsageError naming the hosts there are */
export function findHost(name: string): ProjectHost {
  const root = projectRoot();
  const hosts = projectHosts(root);
  const host = hosts.find((candidate) => candidate.name === name);
  if (host !== undefined) return host;
  const known = hosts.map((h) => `"${h.name}"`).join(", ");
  throw new UsageError(
    known === ""
      ? `received host "${name}", but nothing is synthesised in ${root}; run \`npx cdktf synth\``
      : `received host "${name}"; this project has ${known} (if it is new, run \`npx cdktf synth\`)`,
  );
}

/** What Terraform's state says of a host. @throws UsageError if the stack is not deployed or its state cannot be read */
export async function readBindings(host: ProjectHost): Promise<Bindings> {
  const output = `bailiwick_${host.name.replaceAll("-", "_")}`;
  let read = await terraform(host.stackDir, ["output", "-json", output]);
  if (read.code !== 0) {
    // A fresh clone, or another operator's machine: the back end is not set up here yet.
    const init = await terraform(host.stackDir, ["init", "-input=false", "-no-color"]);
    if (init.code !== 0) throw new UsageError(`terraform init failed in ${host.stackDir}: ${init.stderr.trim()}`);
    read = await terraform(host.stackDir, ["output", "-json", output]);
  }
  if (read.code !== 0 || read.stdout.trim() === "")
    throw new UsageError(
      `host "${host.name}" is not deployed: its stack has no output ${output}; run \`npx cdktf deploy ${host.stack}\``,
    );
  return Bindings.parse(JSON.parse(read.stdout));
}

function terraform(cwd: string, args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const program = process.env.TERRAFORM_BINARY_NAME ?? "terraform";
  return new Promise((done, fail) => {
    const env = { ...process.env, CHECKPOINT_DISABLE: "1", TF_IN_AUTOMATION: "1" };
    execFile(program, args, { cwd, env, maxBuffer: 16 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error !== null && error.code === "ENOENT")
        return fail(
          new UsageError(
            `"${program}" is not installed here, and what is deployed is read by it; ` +
              "install Terraform, or OpenTofu and set TERRAFORM_BINARY_NAME=tofu",
          ),
        );
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : 1;
      done({ code, stdout, stderr: error !== null && stderr === "" ? error.message : stderr });
    });
  });
}
