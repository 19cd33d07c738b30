import type { ITerraformDependable } from "cdktf";
import type { IConstruct } from "constructs";
import type { Bindings } from "../../runtime/spec/binding.ts";
import type { HostSpec } from "../../runtime/spec/host-spec.ts";
import type { TerraformData } from "../terraform-data.ts";

/** What a machine is told of the host that is put on it. */
export interface HostOnMachine {
  /** Name of the host. */
  readonly name: string;
  /** The host's spec, relative to the stack's output folder, where it is written at synth. */
  readonly specFile: string;
  /** Replaced whenever the machine must be built anew: what is made of the machine is replaced with it. */
  readonly bootstrap: TerraformData;
  /** cloud-init user data, with the one-time host key as a sensitive token: never in an argument of a program. */
  readonly userData: string;
  /** Networks that may reach sshd, as far as they are known: literal or tokens. */
  readonly sshFrom: readonly string[];
  /** The admins' public key lines by name, as far as they are known: literal or tokens. */
  readonly admins: Readonly<Record<string, string>>;
  /** Whether the host has a key of a real model provider. Known when all is put on it: ask at the end of synth. */
  readonly realKeys: () => boolean;
}

/** What the host is told of the machine that was made for it. */
export interface MadeMachine {
  /** Token for the id of this very machine; a rebuilt one has another. */
  readonly instance: string;
  /** What must exist before the first push. */
  readonly made: ITerraformDependable;
  /** Networks from which sshd is reached, where they are not those of the host's `Access`: literal or tokens. */
  readonly sshFrom?: readonly string[];
  /**
   * Whether the cloud takes the machine away with no step of the kit's, so that one goes before. Default: the machine's own
   * resources do it in order.
   */
  readonly isDrained?: boolean;
  /** How the push finds the machine; values may be tokens. */
  readonly binding: Bindings["machine"];
}

/** Whether a machine will do for what is put on it. */
export interface MachineReview {
  /** Why synth must fail: wrong code. One sentence each, starting with the path in the user's own code. */
  readonly refused: readonly string[];
  /** What the deployment still lacks: the plan of this stack alone fails. One sentence each. */
  readonly missing: readonly string[];
}

/** Where a host runs. A machine carries one host; `AgentHost` binds it. */
export interface Machine extends IConstruct {
  /** What runs on it. */
  readonly os: HostSpec["os"];
  /** What the spec says of it; read at the end of synth. Strings in it may be tokens where the spec takes bindings. */
  readonly spec: HostSpec["machine"];
  /** Everything of it whose change needs a new machine; compared as JSON at the end of synth. The data volume outlives all of that. */
  readonly generation: Readonly<Record<string, string | number>>;
  /** Name of the data volume below /dev/disk/by-id; the id of one that is made at apply is DATA_VOLUME_PLACEHOLDER in it. */
  readonly dataDevice: string;
  /**
   * The host key that first contact must show, of a machine that has one already: literal or a token.
   * @default a one-time key that is made for it, in its user data
   */
  readonly hostKey?: string;
  /** Makes the machine's resources; called once. */
  bind(host: HostOnMachine): MadeMachine;
  /** Called at synth, when all that is put on the machine is known. */
  review(host: { readonly realKeys: boolean }): MachineReview;
}
