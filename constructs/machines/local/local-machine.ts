import { Construct } from "constructs";
import { z } from "zod";
import { bailiwickCommand } from "../../command-line.ts";
import { KIT_VERSION } from "../../kit.ts";
import { checked, knownKeys, Refusal, refuse } from "../../refuse.ts";
import { Setting } from "../../setting.ts";
import { TerraformData } from "../../terraform-data.ts";
import type { HostOnMachine, Machine, MachineReview, MadeMachine } from "../machine.ts";

export interface LocalMachineProps {
  /**
   * `nspawn`: a container on the operator's own kernel. It is not VM-grade: root in it is powerful on the operator's
   * machine, so real model providers need the word here. (`qemu`, a virtual machine, is not in this version.) A `Setting`
   * takes the word from the environment.
   * @default nspawn, as long as every model is a demo; with a real provider, synth refuses and asks for the word
   */
  readonly engine?: "nspawn" | "qemu" | Setting;
  /**
   * Memory, MiB, at least 512. Not enforced by nspawn on cgroup v1.
   * @default 2048
   */
  readonly memoryMiB?: number;
  /**
   * Processors. Not enforced by nspawn.
   * @default 2
   */
  readonly cpus?: number;
  /**
   * Size of the root disk, GiB (sparse), at least 3. All on it is disposable.
   * @default 10
   */
  readonly rootGiB?: number;
  /**
   * Size of the data volume, GiB (sparse), at least 1. It outlives rebuilds; `cdktf destroy` removes it.
   * @default 10
   */
  readonly dataGiB?: number;
  /**
   * Any other number than at the last deploy builds the machine anew; the data volume stays.
   * @default 0
   */
  readonly rebuild?: number;
}

const Whole = (min: number, max: number) => z.number().int(`must be a whole number`).min(min).max(max);
const SIZES = {
  memoryMiB: { schema: Whole(512, 1048576), standard: 2048 },
  cpus: { schema: Whole(1, 256), standard: 2 },
  rootGiB: { schema: Whole(3, 1024), standard: 10 },
  dataGiB: { schema: Whole(1, 65536), standard: 10 },
  rebuild: { schema: Whole(0, Number.MAX_SAFE_INTEGER), standard: 0 },
};

/**
 * A machine on the operator's own Linux. Changing its engine, memory, processors or sizes builds it anew, which keeps the
 * data volume. Destroy the stack before you delete its code: Terraform runs no destroy step of resources that it can no
 * longer read, and the machine would go on running.
 */
export class LocalMachine extends Construct implements Machine {
  readonly spec: Machine["spec"];
  readonly generation: Machine["generation"];
  readonly #engine: "nspawn" | Setting | undefined;
  readonly #path: string;

  /** @throws Refusal for an unknown key, a size out of range, a token, or `qemu` */
  constructor(scope: Construct, id: string, props: LocalMachineProps = {}) {
    super(scope, id);
    this.#path = `LocalMachine "${id}"`;
    knownKeys(this.#path, props, ["engine", ...Object.keys(SIZES)]);
    const size = (key: keyof typeof SIZES): number =>
      checked(`${this.#path}: ${key}`, SIZES[key].schema, props[key] ?? SIZES[key].standard);
    this.#engine = engineOf(this.#path, props.engine);
    const sizes = {
      memoryMiB: size("memoryMiB"),
      cpus: size("cpus"),
      rootGiB: size("rootGiB"),
      dataGiB: size("dataGiB"),
    };
    this.spec = { kind: "local", engine: "nspawn", ...sizes };
    this.generation = { kind: "local", engine: "nspawn", ...sizes, rebuild: size("rebuild") };
  }

  bind({ name, specFile, bootstrap, userData }: HostOnMachine): MadeMachine {
    // A failed create taints its resource, and a tainted one's destroy step does not run: what boot has started is
    // destroyed by the slot, which never fails to be made. Destroy steps may name nothing but themselves.
    const slot = new TerraformData(this, "slot", {
      provisioners: [
        { when: "destroy", command: bailiwickCommand(this, ["local", "destroy", "--slot", { token: SELF_ID }]) },
      ],
    });
    const image = new TerraformData(this, "image", {
      triggersReplace: { kit: KIT_VERSION },
      replaceTriggeredBy: [bootstrap],
      provisioners: [{ command: bailiwickCommand(this, ["local", "image"]) }],
    });
    const boot = new TerraformData(this, "boot", {
      replaceTriggeredBy: [bootstrap],
      dependsOn: [image],
      provisioners: [
        {
          command: bailiwickCommand(this, [
            "local",
            "boot",
            "--host",
            name,
            "--slot",
            { token: slot.id },
            "--instance",
            { token: SELF_ID },
            "--spec",
            specFile,
          ]),
          environment: { BAILIWICK_USER_DATA: userData },
        },
      ],
    });
    return { instance: boot.id, made: boot, binding: { kind: "local", slot: slot.id, instance: boot.id } };
  }

  review({ realKeys }: { readonly realKeys: boolean }): MachineReview {
    const word = `set engine: "nspawn" in words, knowing that it is not VM-grade: root in it is powerful on this machine's kernel`;
    const none = { refused: [], missing: [] };
    if (this.#engine === "nspawn") return none;
    if (this.#engine === undefined)
      return realKeys
        ? { ...none, refused: [`${this.#path}: engine: received nothing, with a real model provider; ${word}`] }
        : none;
    const { variable, value } = this.#engine;
    if (value === "nspawn" || (value === undefined && !realKeys)) return none;
    const received = value === undefined ? "is not set, with a real model provider" : `holds "${value}"`;
    const advice = `set ${variable}=nspawn, knowing that it is not VM-grade: root in it is powerful on this machine's kernel`;
    return { ...none, missing: [`${variable} ${received}; the engine qemu is not in this version: ${advice}`] };
  }
}

const SELF_ID = `\${self.id}`;

function engineOf(path: string, engine: unknown): "nspawn" | Setting | undefined {
  if (engine === undefined || engine === "nspawn" || engine instanceof Setting) return engine;
  if (engine === "qemu")
    throw new Refusal(
      `${path}: engine: received "qemu", which is not in this version; set "nspawn" in words, knowing that it is not VM-grade`,
    );
  return refuse(`${path}: engine`, engine, 'set "nspawn", or a Setting');
}
