import { execFileSync } from "node:child_process";

/**
 * What a local machine could leave on the operator's computer: network namespaces, loop devices, mounts, cgroups, nspawn, QEMU,
 * forwarding and pasta processes. Compare before and after.
 */
export function traces(): string[] {
  const lines = (program: string, ...args: string[]) =>
    execFileSync(program, args).toString().split("\n").filter(Boolean);
  return [
    ...lines("ip", "netns").map((line) => `namespace ${line.split(" ")[0]}`),
    ...lines("losetup", "--list", "--noheadings", "--output", "BACK-FILE").map(
      (line) => `loop device of ${line.trim()}`,
    ),
    ...lines("findmnt", "--list", "--noheadings", "--output", "TARGET").map((line) => `mount ${line}`),
    ...lines("ps", "-eo", "comm=,args=")
      .filter((line) => /^(systemd-nspawn|systemd-socket|pasta|qemu-system)/.test(line) && !line.endsWith("<defunct>"))
      .map((line) => `process ${line}`),
    ...lines("sh", "-c", "find /sys/fs/cgroup -maxdepth 3 -type d -name 'bw-*' 2>/dev/null; true").map(
      (line) => `cgroup ${line}`,
    ),
  ].sort();
}
