import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** A process, and what tells it from a later one with the same number. */
export interface Process {
  readonly pid: number;
  readonly parent: number;
  /** Start, in clock ticks after the machine's boot. */
  readonly startTicks: number;
}

/** Undefined if there is no such process, or it is a zombie. */
export function processOf(pid: number): Process | undefined {
  const text = readProc(pid, "stat");
  if (text === undefined) return undefined;
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  if (fields[0] === "Z" || fields[0] === "X") return undefined;
  return { pid, parent: Number(fields[1]), startTicks: Number(fields[19]) };
}

/** Path of a process's cgroup in the unified hierarchy, as the kernel tells it, wherever that is mounted. */
export function cgroupOf(pid: number): string | undefined {
  return /^0::(.*)$/m.exec(readProc(pid, "cgroup") ?? "")?.[1];
}

/** Every living process in a cgroup or below it. */
export function processesIn(cgroup: string): Process[] {
  return allProcesses().filter(({ pid }) => isWithin(cgroupOf(pid), cgroup));
}

/**
 * Whether a process lives in a cgroup or below it, by the kernel's own word: to look at every process of a machine ten times
 * a second, as who waits for a boot does, takes a good part of a processor.
 * @param directory of the cgroup, where the unified hierarchy is mounted; one that is gone has none
 */
export function isPopulated(directory: string): boolean {
  try {
    return /^populated 1$/m.test(readFileSync(`${directory}/cgroup.events`, "utf8"));
  } catch {
    return false;
  }
}

/** Whether `path` is the cgroup or lies below it. Cgroups begin with `/`. */
export function isWithin(path: string | undefined, cgroup: string): boolean {
  return path !== undefined && (path === cgroup || path.startsWith(`${cgroup}/`));
}

/** The child of this process that is the first of a pid namespace: the guest's init, of whatever a container's manager has. */
export function initOf(pid: number): Process | undefined {
  const isFirst = (child: number) => /^NSpid:\t.*\t1$/m.test(readProc(child, "status") ?? "");
  return allProcesses().find((child) => child.parent === pid && isFirst(child.pid));
}

function allProcesses(): Process[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => processOf(Number(name)))
    .filter((found) => found !== undefined);
}

export function argumentsOf(pid: number): string[] {
  return (readProc(pid, "cmdline") ?? "").split("\0").slice(0, -1);
}

/** ISO 8601, UTC, to the second. */
export function startedAt(process: Process): string {
  const boot = Number(/^btime (\d+)$/m.exec(readFileSync("/proc/stat", "utf8"))?.[1]);
  const ticksPerSecond = 100; // USER_HZ, the same on every architecture that Debian has
  return new Date((boot + Math.floor(process.startTicks / ticksPerSecond)) * 1000).toISOString();
}

/** Whether this very process listens on this port of 127.0.0.1; another program's listener there is not ours to talk to. */
export function listensOn(pid: number, port: number): boolean {
  const wanted = `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const rows = readFileSync("/proc/net/tcp", "utf8").trim().split("\n").slice(1);
  const inodes = rows
    .map((row) => row.trim().split(/\s+/))
    .filter((row) => row[1] === wanted && row[3] === "0A")
    .map((row) => `socket:[${row[9]}]`);
  if (inodes.length === 0) return false;
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      try {
        return inodes.includes(readlinkSync(`/proc/${pid}/fd/${fd}`));
      } catch {
        return false; // closed meanwhile
      }
    });
  } catch {
    return false; // ended meanwhile
  }
}

function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return undefined; // no such process, or it ended while it was read
  }
}
