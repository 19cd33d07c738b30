import { existsSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { forwards, startForward, stopForward } from "./forward.ts";
import { runsUnderSystemd } from "./launch-form.ts";
import { isFree, portCandidates } from "./port.ts";
import { argumentsOf, processOf } from "./processes.ts";
import { run } from "./run-program.ts";
import type { SlotNames } from "./slot.ts";
import { startUnit, type TransientUnit } from "./transient-unit.ts";

/**
 * The network of every local machine, the same in each: it lies in a namespace of its own, and pasta translates it to
 * connections of the operator's own machine. The gateway's address answers DNS over UDP, sent on to the first resolver of
 * the operator's /etc/resolv.conf (one on loopback too), and nothing else.
 */
export const GUEST_NETWORK = {
  interface: "host0",
  address: "10.77.0.2",
  prefix: 30,
  gateway: "10.77.0.1",
  resolver: "10.77.0.1",
} as const;

/**
 * Arguments of pasta: IPv4 only, nothing forwarded to the guest (its one port is forwarded by {@link startForward}), and
 * nothing from the guest to the operator's loopback (`-T`, `-U`: pasta's default would, and so would the gateway's address).
 */
export function pastaArguments(names: SlotNames): string[] {
  const { address, gateway, resolver } = GUEST_NETWORK;
  return [
    ["--runas", "0:0"], // as another user it cannot join the namespace
    ["--config-net", "--netns", names.netns, "--ns-ifname", GUEST_NETWORK.interface],
    ["-4", "-a", address, "-n", "255.255.255.252", "-g", gateway, "--no-map-gw"],
    ["--dns-forward", resolver],
    ["-t", "none", "-u", "none", "-T", "none", "-U", "none"],
    ["--no-dhcp", "--no-ra", "--no-ndp", "--no-dhcpv6"],
    ["-P", names.pastaPid, "-l", names.pastaLog],
  ].flat();
}

/**
 * pasta as a unit. Debian's AppArmor profile of it knows neither namespaces of `ip netns` nor a log in the operator's state
 * directory. It has a sandbox of its own making: an empty root, no capabilities but its namespace's, and a list of system calls.
 */
export function pastaUnit(names: SlotNames): TransientUnit {
  const properties = ["Type=forking", `PIDFile=${names.pastaPid}`, "AppArmorProfile=unconfined"];
  return { unit: `${names.unit}-uplink`, properties, argv: ["pasta", ...pastaArguments(names)] };
}

/** Pid of this slot's running pasta; undefined if there is none. */
async function pastaPid(names: SlotNames): Promise<number | undefined> {
  const pid = Number(await readFile(names.pastaPid, "utf8").catch(() => ""));
  return isPastaOf(names, pid) ? pid : undefined;
}

function isPastaOf(names: SlotNames, pid: number): boolean {
  return pid > 0 && processOf(pid) !== undefined && argumentsOf(pid).includes(names.netns);
}

export interface UplinkOptions {
  /** The port of the operator's 127.0.0.1 that it had before. */
  readonly before?: number;
  /** Port of the namespace's 127.0.0.1 that is the guest's SSH server. Default: 22. */
  readonly target?: number;
}

/**
 * Make the machine's network namespace and its way out, or find them as they are.
 * @returns the port of the operator's 127.0.0.1 that leads there: the one it had before if that is free
 * @throws if no port could be had, or pasta fails (its log is in the machine's directory)
 */
export async function startUplink(
  names: SlotNames,
  slot: string,
  { before, target }: UplinkOptions = {},
): Promise<number> {
  if (!existsSync(names.netns)) {
    await run("ip", ["netns", "add", names.name]);
    await run("ip", ["-n", names.name, "link", "set", "lo", "up"]);
  }
  if ((await pastaPid(names)) === undefined) await startPasta(names);
  if (before !== undefined && (await forwards(names, before))) return before;

  let tried = 0;
  for (const port of portCandidates(slot, before)) {
    if (!(await isFree(port)) && !(port === before && (await becomesFree(port)))) continue;
    if (await startForward(names, port, target)) return port;
    if (++tried === 10) break; // each time another program took the port between the look and the start
  }
  throw new Error(`no port of 127.0.0.1 could be forwarded to ${names.name}; tried ${tried} that were free`);
}

/** The machine's own port may be held for a moment longer by the forward it had, whose process is ending. */
async function becomesFree(port: number): Promise<boolean> {
  for (let i = 0; i < 20; i++) {
    await sleep(50);
    if (await isFree(port)) return true;
  }
  return false;
}

/** @throws if pasta fails, with its log */
async function startPasta(names: SlotNames): Promise<void> {
  await rm(names.pastaPid, { force: true });
  const args = pastaArguments(names);
  if (runsUnderSystemd()) await startUnit(pastaUnit(names));
  else await afterTheOneBefore(() => run("pasta", args)); // puts itself into the background, away from its caller's output
  for (let i = 0; i < 50; i++) {
    if ((await pastaPid(names)) !== undefined) return;
    await sleep(20);
  }
  const log = await readFile(names.pastaLog, "utf8").catch(() => "");
  throw new Error(`pasta gave ${names.name} no way out; its log says:\n${log.trim()}`);
}

/** The device of a pasta that was killed is there for a moment longer, and no other can have it. */
async function afterTheOneBefore(start: () => Promise<unknown>): Promise<void> {
  for (let i = 0; ; i++) {
    try {
      await start();
      return;
    } catch (error) {
      if (i === 20 || !/tun socket/.test(String(error))) throw error;
    }
    await sleep(100);
  }
}

async function stopPasta(names: SlotNames): Promise<void> {
  const pid = await pastaPid(names);
  if (pid !== undefined) {
    process.kill(pid, "SIGTERM");
    const started = processOf(pid)?.startTicks;
    for (let i = 0; i < 100 && processOf(pid)?.startTicks === started && started !== undefined; i++) {
      if (i === 50) process.kill(pid, "SIGKILL");
      await sleep(20);
    }
  }
  await rm(names.pastaPid, { force: true });
}

/** End the machine's way out and remove its namespace, whatever is left of them. */
export async function stopUplink(names: SlotNames): Promise<void> {
  await stopForward(names);
  await stopPasta(names);
  if (existsSync(names.netns)) await run("ip", ["netns", "del", names.name]);
}
