import { Construct } from "constructs";
import { z } from "zod";
import { bailiwickCommand } from "../../command-line.ts";
import { KIT_VERSION } from "../../kit.ts";
import { checked, knownKeys, refuse } from "../../refuse.ts";
import { Setting } from "../../setting.ts";
import { TerraformData } from "../../terraform-data.ts";
import type { HostOnMachine, Machine, MachineReview, MadeMachine } from "../machine.ts";

export interface LocalMachineProps {
  /**
   * `qemu`: a virtual machine; without a KVM that works it is emulated, and about ten times slower. `nspawn`: a container
   * on the operator's own kernel, there in seconds. It is not VM-grade: root in it is powerful on the operator's machine,
   * so keys of real model providers go there only by this word. A `Setting` takes the word from the environment.
   * @default nspawn, as long as every model is a demo; qemu with a real provider. Adding the first one thus builds the
   * machine anew; the data volume stays
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
   * Size of the data volume, GiB (sparse), at least 1. It outlives rebuilds.
   * @default 10
   */
  readonly dataGiB?: number;
  /**
   * What `cdktf destroy` does with the data volume. A kept one stays in its slot, which the destroy names; give that as
   * `dataFrom` to go on with it.
   * @default delete
   */
  readonly onDestroy?: "delete" | "keep";
  /**
   * Slot (a UUID) whose kept data volume this machine takes over at its first boot, instead of an empty one. Boot fails if
   * there is none. Without meaning once the machine has its volume.
   * @default an empty volume
   */
  readonly dataFrom?: string;
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
  readonly os = "debian-13";
  readonly dataDevice = "bailiwick-data";
  readonly #sizes: Pick<LocalSpec, "memoryMiB" | "cpus" | "rootGiB" | "dataGiB">;
  readonly #rebuild: number;
  readonly #engine: Engine | Setting | undefined;
  readonly #onDestroy: (typeof ON_DESTROY)[number];
  readonly #dataFrom: string | undefined;
  readonly #path: string;
  #realKeys: () => boolean = () => false;

  /** @throws Refusal for an unknown key, a size out of range, or a token */
  constructor(scope: Construct, id: string, props: LocalMachineProps = {}) {
    super(scope, id);
    this.#path = `LocalMachine "${id}"`;
    knownKeys(this.#path, props, ["engine", "onDestroy", "dataFrom", ...Object.keys(SIZES)]);
    const size = (key: keyof typeof SIZES): number =>
      checked(`${this.#path}: ${key}`, SIZES[key].schema, props[key] ?? SIZES[key].standard);
    this.#engine = engineOf(this.#path, props.engine);
    this.#sizes = {
      memoryMiB: size("memoryMiB"),
      cpus: size("cpus"),
      rootGiB: size("rootGiB"),
      dataGiB: size("dataGiB"),
    };
    this.#rebuild = size("rebuild");
    this.#onDestroy = checked(`${this.#path}: onDestroy`, z.enum(ON_DESTROY), props.onDestroy ?? "delete");
    this.#dataFrom = checked(`${this.#path}: dataFrom`, Slot, props.dataFrom);
  }

  get spec(): LocalSpec {
    return { kind: "local", engine: this.#chosen(), ...this.#sizes };
  }

  get generation(): Machine["generation"] {
    return { ...this.spec, rebuild: this.#rebuild };
  }

  #chosen(): Engine {
    const said = this.#engine instanceof Setting ? this.#engine.value : this.#engine;
    return ENGINES.find((engine) => engine === said) ?? (this.#realKeys() ? "qemu" : "nspawn");
  }

  bind({ name, specFile, bootstrap, userData, realKeys }: HostOnMachine): MadeMachine {
    this.#realKeys = realKeys;
    // A failed create taints its resource, and a tainted one's destroy step does not run: what boot has started is
    // destroyed by the slot, which never fails to be made. Destroy steps may name nothing but themselves.
    const slot = new TerraformData(this, "slot", {
      provisioners: [
        {
          when: "destroy",
          command: bailiwickCommand(this, [
            "local",
            "destroy",
            "--slot",
            { token: SELF_ID },
            ...(this.#onDestroy === "keep" ? ["--keep-data"] : []),
          ]),
        },
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
            ...(this.#dataFrom === undefined ? [] : ["--data-from", this.#dataFrom]),
          ]),
          environment: { BAILIWICK_USER_DATA: userData },
        },
      ],
    });
    return { instance: boot.id, made: boot, binding: { kind: "local", slot: slot.id, instance: boot.id } };
  }

  review(): MachineReview {
    const none = { refused: [], missing: [] };
    if (!(this.#engine instanceof Setting)) return none;
    const { variable, value } = this.#engine;
    if (value === undefined || ENGINES.some((engine) => engine === value)) return none;
    return { ...none, missing: [`${variable} holds "${value}"; set it to ${ENGINES.join(" or ")}`] };
  }
}

type LocalSpec = Extract<Machine["spec"], { kind: "local" }>;
const ON_DESTROY = ["delete", "keep"] as const;
const Slot = z.uuid("give the slot that `cdktf destroy` named when it kept the volume, a UUID").optional();

const ENGINES = ["nspawn", "qemu"] as const;
type Engine = (typeof ENGINES)[number];

const SELF_ID = `\${self.id}`;

function engineOf(path: string, engine: unknown): Engine | Setting | undefined {
  if (engine === undefined || engine instanceof Setting) return engine;
  return (
    ENGINES.find((one) => one === engine) ?? refuse(`${path}: engine`, engine, 'set "nspawn", "qemu" or a Setting')
  );
}
