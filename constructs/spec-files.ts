import { chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TerraformStack } from "cdktf";
import type { Construct } from "constructs";
import { untraced } from "./untraced.ts";

type Spec = () => unknown;

const specsOf = new WeakMap<TerraformStack, Map<string, Spec>>();

/** A host's spec, relative to the output folder of its stack. */
export function specFile(host: string): string {
  return `bailiwick/${host}.json`;
}

/**
 * Writes the host's spec beside the stack's Terraform, after the stack is synthesised: every grant counts, whenever it
 * was made. Files of hosts that are no more are removed.
 */
export function writeSpecAtSynth(scope: Construct, host: string, spec: Spec): void {
  const stack = TerraformStack.of(scope);
  const known = specsOf.get(stack);
  const specs = known ?? new Map<string, Spec>();
  specs.set(host, spec);
  if (known !== undefined) return;
  specsOf.set(stack, specs);
  const prepare = stack.prepareStack.bind(stack);
  stack.prepareStack = () => untraced(prepare);
  const inner = stack.synthesizer;
  stack.synthesizer = {
    synthesize(session) {
      untraced(() => inner.synthesize(session));
      const manifest = session.manifest.forStack(stack);
      // It holds a fresh one-time private key.
      chmodSync(join(session.outdir, manifest.synthesizedStackPath), 0o600);
      const folder = join(session.outdir, manifest.workingDirectory);
      rmSync(join(folder, "bailiwick"), { recursive: true, force: true });
      mkdirSync(join(folder, "bailiwick"), { recursive: true });
      for (const [name, produce] of specs)
        writeFileSync(join(folder, specFile(name)), `${JSON.stringify(produce(), null, 2)}\n`);
    },
  };
}
