import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { App, TerraformStack } from "cdktf";
import { afterAll } from "vitest";
import { Access, AgentHost, type AgentHostProps, LocalMachine } from "../../constructs/index.ts";
import type { HostSpec } from "../../runtime/spec/host-spec.ts";

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** Public keys that stand for those of people. */
export const ADA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEkV2asJ/c/qE3n5UjrlKMnt1kjcLm4YzVGN1UyGEMsU ada";
export const BOB = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH16ASxSKFAorGhpkBptfhMzQ3gShCnyf3AGstEh2jE5 bob";

export function anApp(outdir = temporaryFolder()): App {
  return new App({ outdir });
}

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "bailiwick-synth-"));
  folders.push(folder);
  return folder;
}

export const access = Access.ssh({ admins: { ada: ADA }, from: ["203.0.113.7/32"] });

/** A host on a local machine, in a stack of its own. */
export function aHost(
  name = "ops",
  props: Partial<AgentHostProps<LocalMachine>> = {},
  app: App = anApp(),
): AgentHost<LocalMachine> {
  const stack = new TerraformStack(app, `stack-${name}`);
  return new AgentHost(stack, name, { machine: new LocalMachine(stack, "machine"), access, ...props });
}

/** What synth wrote of a stack: its Terraform, and the specs beside it by file name. */
export function synthesise(app: App, stack: string): { terraform: string; specs: Record<string, HostSpec> } {
  app.synth();
  const folder = join(app.outdir, "stacks", stack);
  const files = readdirSync(join(folder, "bailiwick"));
  return {
    terraform: readFileSync(join(folder, "cdk.tf.json"), "utf8"),
    specs: Object.fromEntries(
      files.map((file) => [file, JSON.parse(readFileSync(join(folder, "bailiwick", file), "utf8")) as HostSpec]),
    ),
  };
}

/**
 * Lines of the user data that a local machine is given and another one's has otherwise: `- ` and `+ ` by turns, what is
 * known at apply as `<>`, digests as `<sha256>`.
 * @param local the synthesised stack of the local machine
 * @throws if they have not as many lines
 */
export function differingLines(local: string, userData: string): string[] {
  const all: { provisioner?: { "local-exec": { environment?: Record<string, string> } }[] }[] = Object.values(
    JSON.parse(local).resource.terraform_data,
  );
  const environments = all.map(({ provisioner }) => provisioner?.[0]?.["local-exec"].environment);
  const given = environments.find((one) => one?.BAILIWICK_USER_DATA !== undefined)?.BAILIWICK_USER_DATA ?? "";
  const lines = (text: string) => text.replaceAll(/\$\{[^}]*\}/g, "<>").split("\n");
  const [before, after] = [lines(given), lines(userData)];
  if (before.length !== after.length) throw new Error(`${before.length} lines and ${after.length}`);
  return before
    .flatMap((line, i) => (line === after[i] ? [] : [`- ${line.trim()}`, `+ ${after[i]?.trim()}`]))
    .map((line) => line.replace(/[0-9a-f]{64}/, "<sha256>"));
}
