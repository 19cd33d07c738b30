import { type IResolvable, Lazy, Token } from "cdktf";
import type { Construct } from "constructs";
import { digestOf } from "../runtime/spec/digest.ts";
import { bailiwickCommand } from "./command-line.ts";
import type { MadeMachine } from "./machines/machine.ts";
import { TerraformData } from "./terraform-data.ts";

export interface DrainProps {
  readonly host: string;
  readonly specFile: string;
  readonly machine: MadeMachine;
  /** How the host is found, as the push is told. */
  readonly bindings: IResolvable;
  /** What the machine is made from, as text; asked for at the end of synth. */
  readonly generation: () => string;
}

/**
 * Before a machine is taken away by its cloud, its units are stopped and its data volume is unmounted; and before one is
 * replaced, every secret must be at hand. A step of its own, since Terraform destroys what depends on a machine first. It
 * runs again whatever the machine is replaced for, its taint too: it is as old as the instance.
 */
export function addDrain(scope: Construct, { host, specFile, machine, bindings, generation }: DrainProps): void {
  // what is not known before apply cannot be told from another by then: a destroy step may name nothing but itself
  const digest = ({ preparing }: { preparing: boolean }) => {
    const text = preparing ? "" : generation();
    return Token.isUnresolved(text) ? "unknown" : digestOf(text);
  };
  const now = () => Lazy.stringValue({ produce: digest });
  new TerraformData(scope, "drain", {
    input: { bindings, generation: now() },
    triggersReplace: { instance: machine.instance },
    dependsOn: [machine.made],
    provisioners: [
      {
        when: "destroy",
        command: bailiwickCommand(scope, [
          ...["machine", "drain", host, "--spec", specFile, "--from-terraform", "--generation"],
          { token: now() },
        ]),
        environment: {
          BAILIWICK_BINDINGS: `\${jsonencode(self.input.bindings)}`,
          BAILIWICK_GENERATION: `\${self.input.generation}`,
        },
      },
    ],
  });
}
