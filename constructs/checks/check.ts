import type { HostSpec } from "../../runtime/spec/host-spec.ts";

/** A resource as synth will write it, overrides included. */
export interface MadeResource {
  /** Its path in the construct tree. */
  readonly path: string;
  /** Terraform's type: `hcloud_server`. */
  readonly type: string;
  /** How others refer to it: `hcloud_server.ops_server_1A2B`. */
  readonly reference: string;
  /** An attribute by Terraform's name, with tokens as Terraform's expressions; undefined if it is not set. */
  attribute(name: string): unknown;
}

/** A host as far as checks ask. */
export interface CheckedHost {
  readonly name: string;
  /** Path of its machine in the construct tree. */
  readonly machine: string;
  readonly machineSpec: HostSpec["machine"];
  /** Networks that may reach sshd, as far as they are literal. */
  readonly from: readonly string[];
  /** What is made below its machine, of the types that checks look at. */
  readonly resources: readonly MadeResource[];
}

/** One stack with hosts, when all that is in it is known. */
export interface CheckedStack {
  readonly path: string;
  readonly hosts: readonly CheckedHost[];
  /** Everything in the stack, of the types that checks look at. */
  readonly resources: readonly MadeResource[];
  /** Where its state is kept: kind and attributes; null: not said, which is a local file. */
  readonly backend: { readonly kind: string; readonly attributes: Readonly<Record<string, unknown>> } | null;
}

/**
 * One rule that an unsafe stack breaks. It sees what overrides and other constructs of the team made of it, which the
 * constructs themselves cannot refuse.
 * @returns what is wrong: one sentence each, with the path, what was found, and the fix
 */
export type SynthCheck = (stack: CheckedStack) => readonly string[];

/** Of a block that may stand once: the block, or null. */
export function block(value: unknown): Readonly<Record<string, unknown>> | null {
  const one: unknown = Array.isArray(value) ? value[0] : value;
  return typeof one === "object" && one !== null ? (one as Record<string, unknown>) : null;
}

/** Networks in a list that are the whole internet. */
export function wholeInternet(networks: unknown): string[] {
  const all: unknown[] = Array.isArray(networks) ? networks : [networks];
  return all.filter((one): one is string => typeof one === "string" && one.endsWith("/0"));
}
