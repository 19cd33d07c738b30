import { describe, expect, it } from "vitest";
import { forwardArguments } from "../../../runtime/local/forward.ts";
import { kernelArguments, qemuArguments } from "../../../runtime/local/qemu-arguments.ts";
import { namesOf } from "../../../runtime/local/slot.ts";

const names = namesOf("0a1b2c3d-0000-4000-8000-000000000000");
const machine = { accelerator: "tcg", memoryMiB: 1024, cpus: 3 } as const;

function valuesOf(args: readonly string[], option: string): string[] {
  return args.flatMap((arg, i) => (arg === option ? [args[i + 1] ?? ""] : []));
}

describe("arguments of QEMU", () => {
  const args = qemuArguments(names, machine);

  it("give the machine its size, and no device but those it needs", () => {
    expect(valuesOf(args, "-m")).toEqual(["1024"]);
    expect(valuesOf(args, "-smp")).toEqual(["3"]);
    expect(args).toContain("-nodefaults");
    expect(args).toContain("-no-user-config");
    expect(valuesOf(args, "-device").map((device) => device.split(",")[0])).toEqual([
      "nvme",
      "virtio-blk-pci",
      "virtio-net-pci",
      "virtio-rng-pci",
    ]);
  });

  it("never take back from the guest what it has flushed to its disks", () => {
    for (const disk of valuesOf(args, "-blockdev")) {
      const { cache, file } = JSON.parse(disk);
      expect([cache, file.cache]).toEqual(Array(2).fill({ direct: false, "no-flush": false }));
    }
    expect(valuesOf(args, "-blockdev")).toHaveLength(2);
  });

  it("forward one port of the namespace's loopback, where the operator's forward leads to", () => {
    const net = valuesOf(args, "-netdev").join();
    expect(net.match(/hostfwd=[^,]*/g)).toEqual(["hostfwd=tcp:127.0.0.1:2222-:22"]);
    expect(net).not.toContain("guestfwd");
    expect(forwardArguments(names, 22001, 2222).at(-1)).toBe("127.0.0.1:2222");
  });

  it("leave it as a user of the slot's own, that can start no program", () => {
    expect(valuesOf(args, "-runas")).toEqual([`${0x70a1b2c3}:${0x70a1b2c3}`]);
    expect(valuesOf(args, "-sandbox").join()).toContain("spawn=deny");
  });

  it("hold no path of the operator's, so that none can be too long or hold a comma", () => {
    expect(args.filter((arg) => arg.includes(names.directory))).toEqual([]);
  });

  it("turn the guest's defences against speculation off only where nothing speculates", () => {
    expect(kernelArguments("tcg")).toContain("mitigations=off");
    expect(kernelArguments("kvm")).not.toContain("mitigations");
    expect(qemuArguments(names, { ...machine, accelerator: "kvm" })).toContain("host");
  });
});
