import { Token } from "cdktf";
import { Construct } from "constructs";
import { z } from "zod";
import { SshPublicKey } from "../../../runtime/spec/network.ts";
import { OperatingSystem } from "../../../runtime/spec/operating-system.ts";
import { bailiwickCommand } from "../../command-line.ts";
import { checked, knownKeys, refuse } from "../../refuse.ts";
import { TerraformData } from "../../terraform-data.ts";
import type { HostOnMachine, Machine, MachineReview, MadeMachine } from "../machine.ts";

export interface ExistingMachineProps {
  /** IP address, or name, at which the machine's sshd answers on port 22. May be a token. */
  readonly address: string;
  /**
   * Account to log in to at first, with the first admin's key: root, or one that may sudo without a password. The admins
   * of the host's `Access` replace it; its keys and its sudo come back when the machine is let go.
   */
  readonly user: string;
  /**
   * The machine's ed25519 host key, `ssh-ed25519 AAAA…`, as its own console shows it
   * (`cat /etc/ssh/ssh_host_ed25519_key.pub`): first contact must show it. May be a token. The host has another one from
   * the first push on; this one comes back when the machine is let go. Changing it means another machine.
   */
  readonly hostKey: string;
  /**
   * Its operating system; one that says it is another is refused. On Debian 12 and Ubuntu 24.04 nobody owns the firewall's
   * tables: what others change of them is put back at once.
   * @default debian-13
   */
  readonly os?: OperatingSystem;
  /**
   * The data volume: name of a block device below /dev/disk/by-id, a disk, a partition or a logical volume
   * (`dm-name-vg0-data`). It is formatted if it is blank, and used if it was a host's before; anything else is refused.
   */
  readonly dataDevice: string;
  /**
   * Whether the machine is taken although other things run on it: services, firewall tables, crontabs, accounts that can
   * log in. They go on running, behind the host's firewall; `verify` objects to what breaks its rules.
   * @default false: such a machine is refused, and told what was found
   */
  readonly adopt?: boolean;
  /**
   * What `cdktf destroy`, and all that replaces the machine, does: `restore` takes everything of the kit away and puts back
   * what was there before; `leave` does not touch it, for a machine that is gone or to be wiped.
   * @default restore
   */
  readonly onDestroy?: "restore" | "leave";
  /**
   * Any other number than at the last deploy takes everything of the kit away and puts it on again; the data volume stays.
   * @default 0
   */
  readonly rebuild?: number;
}

/**
 * A machine that was there before: a server in a rack, a virtual machine that somebody else makes. Debian 12 or 13
 * or Ubuntu 24.04 on x86-64, with systemd, its sshd on port 22, by ssh.service or started by ssh.socket, and nothing else on
 * it that is of worth. First boot's own files are put on it over SSH.
 */
export class ExistingMachine extends Construct implements Machine {
  readonly os: OperatingSystem;
  readonly dataDevice: string;
  readonly hostKey: string;
  /** Where its sshd answers, literal or a token: for outputs and other constructs of the team. */
  readonly address: string;
  readonly #user: string;
  readonly #adopt: boolean;
  readonly #onDestroy: (typeof ON_DESTROY)[number];
  readonly #rebuild: number;

  /** @throws Refusal for an unknown key, an address or host key that is none, or a token where synth decides */
  constructor(scope: Construct, id: string, props: ExistingMachineProps) {
    super(scope, id);
    const path = `ExistingMachine "${id}"`;
    knownKeys(path, props, ["address", "user", "hostKey", "os", "dataDevice", "adopt", "onDestroy", "rebuild"]);
    this.address = orToken(`${path}: address`, Address, props.address);
    this.#user = checked(`${path}: user`, User, props.user);
    this.os = checked(`${path}: os`, OperatingSystem, props.os ?? "debian-13");
    this.hostKey = hostKey(`${path}: hostKey`, props.hostKey);
    this.dataDevice = checked(`${path}: dataDevice`, Device, props.dataDevice);
    this.#adopt = checked(`${path}: adopt`, z.boolean(), props.adopt ?? false);
    this.#onDestroy = checked(`${path}: onDestroy`, z.enum(ON_DESTROY), props.onDestroy ?? "restore");
    const Whole = z.number().int("must be a whole number").min(0);
    this.#rebuild = checked(`${path}: rebuild`, Whole, props.rebuild ?? 0);
  }

  get spec(): Extract<Machine["spec"], { kind: "existing" }> {
    const { hostKey, dataDevice } = this;
    return { kind: "existing", address: this.address, user: this.#user, hostKey, dataDevice, adopt: this.#adopt };
  }

  /** It is known by its key, wherever it is reached. */
  get generation(): Machine["generation"] {
    return { kind: "existing", hostKey: this.hostKey, rebuild: this.#rebuild };
  }

  bind({ name, specFile, bootstrap, admins }: HostOnMachine): MadeMachine {
    // A failed create taints its resource, and a tainted one's destroy step does not run: what `baseline` has put on the
    // machine is taken away by `hold`, which never fails to be made. Destroy steps may name nothing but themselves.
    const hold = new TerraformData(this, "hold", {
      input: { host: name, address: this.address, user: this.#user, hostKey: this.hostKey, admins },
      replaceTriggeredBy: [bootstrap],
      provisioners:
        this.#onDestroy === "leave"
          ? []
          : [
              {
                when: "destroy",
                command: bailiwickCommand(this, ["machine", "leave", name, "--from-terraform"]),
                environment: { BAILIWICK_MACHINE: `\${jsonencode(merge(self.output, { instance = self.id }))}` },
              },
            ],
    });
    const baseline = new TerraformData(this, "baseline", {
      triggersReplace: { hold: hold.id },
      provisioners: [
        {
          command: bailiwickCommand(this, ["machine", "adopt", name, "--spec", specFile, "--from-terraform"]),
          environment: {
            BAILIWICK_MACHINE: `\${jsonencode(merge(${hold.fqn}.output, { instance = ${hold.fqn}.id }))}`,
          },
        },
      ],
    });
    return {
      instance: hold.id,
      made: baseline,
      binding: { kind: "remote", address: this.address, instance: hold.id },
    };
  }

  review(): MachineReview {
    return { refused: [], missing: [] };
  }
}

const ON_DESTROY = ["restore", "leave"] as const;
const Address = z
  .string()
  .regex(/^[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}$/, "must be an IP address or a name, without user and port");
const User = z.string().regex(/^[a-z_][a-z0-9_-]{0,31}$/, "must be the name of an account");
const Device = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, "must be a name below /dev/disk/by-id, 1 to 64 of A-Z a-z 0-9 _ -");

function orToken(path: string, schema: z.ZodType<string>, value: string): string {
  return typeof value === "string" && Token.isUnresolved(value) ? value : checked(path, schema, value);
}

function hostKey(path: string, value: string): string {
  const line = orToken(path, z.string(), value).trim();
  if (Token.isUnresolved(line)) return line;
  if (!SshPublicKey.safeParse(line).success || !line.startsWith("ssh-ed25519 "))
    refuse(
      path,
      value,
      "give the machine's ed25519 host key as its own console shows it: cat /etc/ssh/ssh_host_ed25519_key.pub",
    );
  return line.split(/\s+/).slice(0, 2).join(" ");
}
