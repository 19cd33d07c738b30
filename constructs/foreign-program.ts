import { closeSync, openSync, readSync } from "node:fs";
import { resolve } from "node:path";
import type { Architecture } from "../runtime/spec/architecture.ts";

/** What a folder's program is started by, as in the spec. */
interface Started {
  readonly source: string;
  readonly argv: readonly string[];
}

const ELF = Buffer.from("\x7fELF");
/** `e_machine` of an ELF file. */
const MACHINES: Readonly<Record<Architecture, number>> = { x64: 62, arm64: 183 };

/**
 * Why a program from the team's own folder cannot run on a machine of this architecture; undefined if it can, as far as its
 * file's head says. A program that Node.js or another interpreter runs is of none.
 */
export function foreignProgram({ source, argv }: Started, architecture: Architecture): string | undefined {
  const [program = ""] = argv;
  const machine = program.startsWith("./") ? elfMachine(resolve(source, program)) : undefined;
  if (machine === undefined || machine === MACHINES[architecture]) return undefined;
  const built = Object.entries(MACHINES).find(([, known]) => known === machine)?.[0] ?? `ELF machine ${machine}`;
  return `argv[0]: "${program}" is built for ${built}, and the machine is ${architecture}; build it for ${architecture}, or choose another machine`;
}

function elfMachine(path: string): number | undefined {
  const head = Buffer.alloc(20);
  let file: number;
  try {
    file = openSync(path, "r");
  } catch {
    // that it is not there is said where components are built
    return undefined;
  }
  try {
    readSync(file, head, 0, head.length, 0);
  } finally {
    closeSync(file);
  }
  return head.subarray(0, ELF.length).equals(ELF) ? head.readUInt16LE(18) : undefined;
}
