import { basename } from "node:path";
import { VIRTUAL_GATEWAY } from "../spec/local-network.ts";
import type { SlotNames } from "./slot.ts";

/** Whether the operator's processor runs the guest itself, or every instruction of it is translated. */
export type Accelerator = "kvm" | "tcg";

/**
 * The network between QEMU's own user-mode stack and the guest, inside the machine's namespace. Its gateway leads to the
 * loopback of that namespace, where nothing listens but QEMU's forwarded port; the operator's own is another.
 */
export const VIRTUAL_NETWORK = {
  network: "10.77.1.0/29",
  gateway: VIRTUAL_GATEWAY,
  /** Asks what the operator's /etc/resolv.conf names; the guest is told of pasta's resolver instead, as under nspawn. */
  builtInResolver: "10.77.1.2",
  interface: "eth0",
  address: "10.77.1.3",
  prefix: 29,
  /** Port of 127.0.0.1 in the namespace that leads to the guest's port 22. */
  sshPort: 2222,
} as const;

export interface VirtualMachine {
  readonly accelerator: Accelerator;
  readonly memoryMiB: number;
  readonly cpus: number;
}

/**
 * Processor and machine. `host` is what KVM really has; the other has no feature that is slow to translate. Translated
 * processors take turns: a kernel rewrites its own code as it runs (the first unit with a `CPUQuota=` switches a branch of
 * the scheduler), and when QEMU translates each in its own thread, another may still run what was there in between. Then
 * the guest panics: "Oops: int3", one boot in five.
 */
export function processorArguments(accelerator: Accelerator): string[] {
  return accelerator === "kvm"
    ? ["-machine", "q35", "-accel", "kvm", "-cpu", "host"]
    : ["-machine", "q35", "-accel", "tcg,thread=single,tb-size=512", "-cpu", "Nehalem,+rdrand"];
}

/**
 * Arguments of the guest's kernel. It finds its root by the NVMe disk, of which there is one alone: that driver is built
 * in, all others are modules, so no initial RAM disk is needed and no other disk is found first.
 */
export function kernelArguments(accelerator: Accelerator): string {
  return [
    "console=ttyS0,115200 root=/dev/nvme0n1 rootfstype=ext4 rw net.ifnames=0",
    "loglevel=5 systemd.show_status=error",
    // nobody is there to press reset
    "panic=10",
    // a translated processor leaks nothing by speculation, and keeping its page tables apart is what costs most; its timer
    // may be too late for the kernel's check of it
    ...(accelerator === "tcg" ? ["mitigations=off no_timer_check"] : []),
  ].join(" ");
}

/**
 * Arguments of QEMU for a machine of this slot. Paths are relative to its directory, where it is started: they fit
 * whatever the directory is called. Once it has opened its files it becomes a user that owns nothing and that no other
 * process is; it can start no program.
 */
export function qemuArguments(names: SlotNames, machine: VirtualMachine): string[] {
  const { accelerator, memoryMiB, cpus } = machine;
  const { network, gateway, builtInResolver, address, sshPort } = VIRTUAL_NETWORK;
  const disk = (name: string, path: string) => {
    // the host's page cache is written back, and a flush by the guest reaches the disk
    const cache = { direct: false, "no-flush": false };
    const file = { driver: "file", filename: basename(path), cache, discard: "unmap" };
    return JSON.stringify({ driver: "raw", "node-name": name, cache, discard: "unmap", file });
  };
  const uid = userOf(names);
  return [
    ["-name", `guest=${names.name}`],
    ["-no-user-config", "-nodefaults", "-display", "none"],
    processorArguments(accelerator),
    ["-m", String(memoryMiB), "-smp", String(cpus)],
    ["-kernel", basename(names.kernel), "-append", kernelArguments(accelerator)],
    ["-blockdev", disk("root", names.rootDisk), "-device", "nvme,drive=root,serial=bailiwick-root"],
    ["-blockdev", disk("data", names.dataDisk), "-device", "virtio-blk-pci,drive=data,serial=bailiwick-data"],
    [
      "-netdev",
      `user,id=net,ipv6=off,net=${network},host=${gateway},dns=${builtInResolver},dhcpstart=${address},hostfwd=tcp:127.0.0.1:${sshPort}-:22`,
    ],
    ["-device", "virtio-net-pci,netdev=net,romfile="],
    ["-device", "virtio-rng-pci"],
    ["-chardev", `file,id=console,path=${basename(names.console)},append=on`, "-serial", "chardev:console"],
    ["-qmp", `unix:${basename(names.monitor)},server=on,wait=off`],
    ["-sandbox", "on,obsolete=deny,spawn=deny,resourcecontrol=deny", "-runas", `${uid}:${uid}`],
  ].flat();
}

/** A uid of the slot's own, from the last range of numbers that neither Debian nor systemd gives to anything. */
function userOf(names: SlotNames): number {
  return 0x70000000 + Number.parseInt(names.name.slice("bw-".length, "bw-".length + 7), 16);
}
