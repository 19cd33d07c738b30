import type { IResolvable } from "cdktf";
import type { Construct } from "constructs";
import { bailiwickCommand } from "./command-line.ts";
import type { MadeMachine } from "./machines/machine.ts";
import { TerraformData } from "./terraform-data.ts";

export interface DrainProps {
  readonly host: string;
  readonly specFile: string;
  readonly machine: MadeMachine;
  /** How the host is found, as the push is told. */
  readonly bindings: IResolvable;
  /** Token for the digest of what the machine is made from. */
  readonly generation: string;
}

/**
 * Before a machine is taken away by its cloud, its units are stopped and its data volume is unmounted; and before one is
 * replaced because its generation has changed, every secret must be at hand. A step of its own, since Terraform destroys what
 * depends on a machine first. It runs whatever the machine is replaced for, its taint too: it is as old as the instance.
 */
export function addDrain(scope: Construct, { host, specFile, machine, bindings, generation }: DrainProps): void {
  new TerraformData(scope, "drain", {
    input: { bindings, generation },
    triggersReplace: { instance: machine.instance },
    dependsOn: [machine.made],
    provisioners: [
      {
        when: "destroy",
        command: bailiwickCommand(scope, [
          ...["machine", "drain", host, "--spec", specFile, "--from-terraform", "--generation"],
          { token: generation }, // of now; in the environment that of then
        ]),
        environment: {
          BAILIWICK_BINDINGS: `\${jsonencode(self.input.bindings)}`,
          BAILIWICK_GENERATION: `\${self.input.generation}`,
        },
      },
    ],
  });
}
