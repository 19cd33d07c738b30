import { z } from "zod";
import type { HostSpec } from "./host-spec.ts";

/** Architecture of a machine's processors, as Node.js names it: `x64` is x86-64. */
export const Architecture = z.enum(["x64", "arm64"]);
export type Architecture = z.output<typeof Architecture>;

/** What is put on the host is built for it. */
export function architectureOf({ machine }: Pick<HostSpec, "machine">): Architecture {
  return (machine.kind === "aws" ? machine.architecture : undefined) ?? "x64";
}
