import * as z from "zod";
import { Name } from "../spec/names.ts";
import { checkedId } from "./slot.ts";

export type Progress = (line: string) => void;

/**
 * How to come up. `progress` is told each step, default: nobody; `bootSeconds` is the longest wait, default: 120 for
 * nspawn, 300 for QEMU.
 */
export interface BootOptions {
  readonly progress?: Progress;
  readonly bootSeconds?: number;
}

/** What a machine is made from. */
export interface MachinePlan {
  /** UUID of the machine's place: its directory, namespace and cgroup are named by it; it and its data volume stay. */
  readonly slot: string;
  /** UUID of this incarnation: another one replaces the root disk. It is cloud-init's instance id. */
  readonly instance: string;
  readonly host: string;
  /**
   * systemd-nspawn: a container on the operator's own kernel. It is no security boundary like a VM's: root in it is
   * powerful on the operator's machine. Not there, or not enforced: AppArmor, auditd, kernel modules, a TPM, and the
   * size of the machine (memory, processors). On cgroup v1 `MemoryMax=`, `TasksMax=` and `CPUQuota=` of units inside do
   * nothing either. XFS project quotas need an operator's kernel that has them.
   * QEMU: a virtual machine with a kernel of its own; by KVM where that boots a guest, else emulated and slow.
   */
  readonly engine: "nspawn" | "qemu";
  /** As {@link import("./image.ts").ensureImage} gives it. */
  readonly image: { readonly digest: string; readonly path: string };
  /** Memory, MiB, at least 512, default: 2048; and processors, default: 2. nspawn heeds neither. */
  readonly memoryMiB?: number;
  readonly cpus?: number;
  /** Size of the root disk, GiB, sparse; at least 3. */
  readonly rootGiB: number;
  /** Size of the data volume, GiB, sparse. One that exists keeps its size and content. */
  readonly dataGiB: number;
  /** Slot whose data volume, kept when its machine was destroyed, becomes this one's; default: an empty one is made. */
  readonly dataFrom?: string;
  /**
   * Components that the machine is to have when its SSH server is first used: whoever pushes has then nothing to send.
   * Default: none. Each is received as the machine itself would, by the digest of its archive: before anything boots where
   * a machine is replaced, or where its disk cannot be reached once it runs; else while it boots.
   */
  readonly components?: readonly PlacedComponent[];
  /** Given to cloud-init (NoCloud). Written into the root disk only. */
  readonly userData: string;
  readonly progress: Progress;
  /** Longest wait for the SSH server, seconds. Default: 120 for nspawn, 300 for QEMU. */
  readonly bootSeconds?: number;
}

/** A component, and its archive on the operator's machine. */
export interface PlacedComponent {
  readonly digest: string;
  readonly archive: { readonly path: string; readonly sha256: string; readonly bytes: number };
}

const Digest = z.string().regex(/^[0-9a-f]{64}$/, "expected 64 hex digits");
const Words = z.object({
  host: Name,
  engine: z.enum(["nspawn", "qemu"]),
  memoryMiB: z.number().int().min(512).max(1048576).optional(),
  cpus: z.number().int().min(1).max(256).optional(),
  rootGiB: z.number().int().min(3).max(1024),
  dataGiB: z.number().int().min(1).max(65536),
  image: z.object({ path: z.string().startsWith("/") }),
  components: z
    .array(
      z.object({
        digest: Digest,
        archive: z.object({
          path: z.string().regex(/^\/[^\n]*$/, "expected an absolute path"),
          sha256: Digest,
          bytes: z.number().int().positive(),
        }),
      }),
    )
    .optional(),
});

/** @throws naming what of the plan is malformed */
export function checkWords(plan: MachinePlan): void {
  checkedId("instance", plan.instance);
  const words = Words.safeParse(plan);
  if (!words.success) throw new Error(`local machine: ${z.prettifyError(words.error).replaceAll("\n", " ")}`);
}
