import { spawn } from "node:child_process";
import { readFile, rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { runsUnderSystemd } from "./launch-form.ts";
import { listensOn, processOf } from "./processes.ts";
import { cleanEnvironment } from "./run-program.ts";
import type { SlotNames } from "./slot.ts";
import { startUnit } from "./transient-unit.ts";

/**
 * One port of 127.0.0.1 that leads to `target`, a port of 127.0.0.1 in the guest's namespace: systemd's own socket proxy, whose listening socket is opened on
 * the operator's side before it enters the guest's network namespace. pasta could forward the port too, but the version of
 * Debian 12 spins for ever, and forwards nothing any more, once a client has gone while the guest still had data for it.
 */
export function forwardArguments(names: SlotNames, port: number, target = 22): string[] {
  return [
    ...["systemd-socket-activate", "-l", `127.0.0.1:${port}`],
    ...["nsenter", `--net=${names.netns}`, "/usr/lib/systemd/systemd-socket-proxyd", `127.0.0.1:${target}`],
  ];
}

/** Pid of this slot's forward; undefined if there is none. The number alone may be another process's by now. */
async function forwardPid(names: SlotNames): Promise<number | undefined> {
  const [pid, ticks] = (await readFile(names.forwardPid, "utf8").catch(() => "")).split(" ").map(Number);
  if (pid === undefined || !(pid > 0)) return undefined;
  return processOf(pid)?.startTicks === ticks ? pid : undefined;
}

/** Whether the forward of this slot runs and holds this port. */
export async function forwards(names: SlotNames, port: number): Promise<boolean> {
  const pid = await forwardPid(names);
  return pid !== undefined && listensOn(pid, port);
}

/** @returns whether it holds the port; if not, another program took it meanwhile and nothing runs */
export async function startForward(names: SlotNames, port: number, target = 22): Promise<boolean> {
  await stopForward(names);
  // the shell becomes the forward, so that the pid and its start are the forward's own
  const script = 'echo "$$ $(cut -d" " -f22 /proc/$$/stat)" >"$0"; exec "$@"';
  const argv = ["-c", script, names.forwardPid, ...forwardArguments(names, port, target)];
  if (runsUnderSystemd())
    await startUnit({ unit: `${names.unit}-forward`, properties: ["Type=exec"], argv: ["/bin/sh", ...argv] });
  else {
    const child = spawn("/bin/sh", argv, { detached: true, stdio: "ignore", cwd: "/", env: cleanEnvironment() });
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", reject);
    });
    child.unref();
  }
  for (let i = 0; i < 50; i++) {
    if (await forwards(names, port)) return true;
    await sleep(20);
  }
  await stopForward(names);
  return false;
}

export async function stopForward(names: SlotNames): Promise<void> {
  const pid = await forwardPid(names);
  if (pid !== undefined) {
    process.kill(pid, "SIGTERM");
    for (let i = 0; i < 100 && (await forwardPid(names)) !== undefined; i++) {
      if (i === 50) process.kill(pid, "SIGKILL");
      await sleep(20);
    }
  }
  await rm(names.forwardPid, { force: true });
}
