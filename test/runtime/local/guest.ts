import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { processOf } from "../../../runtime/local/processes.ts";
import { besideOf, namesOf, type SlotNames } from "../../../runtime/local/slot.ts";

const MACHINE = resolve(import.meta.dirname, "../../../runtime/local/machine.ts");

/** Keys of a test's own: an admin's, and the host key that the guest is given, so that nothing is trusted on first use. */
export class Guest {
  readonly userData: string;
  private readonly directory: string;

  constructor(directory: string, more = "") {
    this.directory = directory;
    for (const key of ["admin", "host"])
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", key, "-f", join(directory, key)]);
    const text = (file: string) => readFileSync(join(directory, file), "utf8").trim();
    this.userData = `#cloud-config
users:
  - name: ada
    uid: 1500
    sudo: "ALL=(ALL) NOPASSWD:ALL"
    shell: /bin/bash
    ssh_authorized_keys: [${JSON.stringify(text("admin.pub"))}]
disable_root: true
ssh_keys:
  ed25519_private: ${JSON.stringify(`${text("host")}\n`)}
  ed25519_public: ${JSON.stringify(text("host.pub"))}
${more}`;
  }

  /** Run a command in the guest as ada; stdout. Retries while sshd restarts in the midst of first boot. */
  ssh(port: number, command: string): string {
    const args = this.arguments(port, command);
    for (let tries = 1; ; tries++) {
      const { status, stdout, stderr } = spawnSync("ssh", args, { encoding: "utf8", timeout: 60_000 });
      if (status === 0) return stdout.trim();
      if (status === 255 && /refused|reset|closed/.test(stderr) && tries < 20) sleepSync(200);
      else throw new Error(`in the guest, \`${command}\` ended with ${status}: ${stdout}${stderr}`);
    }
  }

  /** Start a command that never stops talking, and vanish in the midst of it. */
  async sshAndVanish(port: number): Promise<void> {
    const child = spawn("ssh", this.arguments(port, "cat /dev/zero"), { stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    child.stderr.on("data", (chunk) => {
      said += chunk;
    });
    await new Promise<void>((talking, fail) => {
      child.stdout.once("data", () => talking());
      child.once("close", (code) => fail(new Error(`ssh ended with ${code} before the guest told anything: ${said}`)));
    });
    child.kill("SIGKILL");
    await new Promise((gone) => child.once("close", gone));
  }

  /** Of ssh, for a command in the guest. */
  arguments(port: number, command: string): string[] {
    const pin = join(this.directory, "known_hosts");
    const hostKey = readFileSync(join(this.directory, "host.pub"), "utf8").split(" ").slice(0, 2).join(" ");
    writeFileSync(pin, `[127.0.0.1]:${port} ${hostKey}\n`);
    const options = ["StrictHostKeyChecking=yes", `UserKnownHostsFile=${pin}`, "BatchMode=yes", "ConnectTimeout=10"];
    const identity = ["-F", "none", "-i", join(this.directory, "admin"), "-p", String(port)];
    return [...identity, ...options.flatMap((option) => ["-o", option]), "ada@127.0.0.1", command];
  }
}

function sleepSync(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** What a process of its own printed, and when its descriptors 1, 2 and 3 were closed by the last that held them (5 s at most). */
export interface ChildRun {
  readonly status: number | null;
  readonly text: string;
  readonly exitedMs: number;
  readonly closedMs: number;
}

/** Run code with the local machine's API in another process that has pipes as stdout, stderr and descriptor 3. */
export function inAnotherProcess(code: string): Promise<ChildRun> {
  const source = `const local = await import(${JSON.stringify(MACHINE)}); ${code}`;
  const start = Date.now();
  const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", source], {
    stdio: ["ignore", "pipe", "pipe", "pipe"],
    env: { ...process.env, SOME_API_KEY: "canary-in-the-environment" },
  });
  let text = "";
  for (const stream of child.stdio.slice(1))
    stream?.on("data", (chunk) => {
      text += chunk;
    });
  return new Promise((done, fail) => {
    child.on("error", fail);
    child.on("exit", (status) => {
      const exitedMs = Date.now() - start;
      const end = () => {
        clearTimeout(timer);
        for (const stream of child.stdio) stream?.destroy();
        done({ status, text, exitedMs, closedMs: Date.now() - start });
      };
      const timer = setTimeout(end, 5000);
      child.on("close", end);
    });
  });
}

/** A service of the operator's on 127.0.0.1 that says `reached`; in another process, since ssh() stops this one's events. */
export function serveOnLoopback(): Promise<{ port: number; stop: () => void }> {
  const source = `const server = require("node:net").createServer((socket) => socket.end("reached"));
    server.listen(0, "127.0.0.1", () => console.log(server.address().port));`;
  const child = spawn(process.execPath, ["-e", source], { stdio: ["ignore", "pipe", "inherit"] });
  return new Promise((done, fail) => {
    child.on("error", fail);
    child.stdout.once("data", (port) => done({ port: Number(port), stop: () => child.kill() }));
  });
}

/** Everything on this machine that names the slot: living processes, namespace, cgroup, mounts, loop devices, files. */
export function tracesOf(slot: string): string[] {
  const names = namesOf(slot);
  const mine = (text: string) => text.includes(names.name) || text.includes(names.unit) || text.includes(slot);
  const processes = readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid && processOf(Number(pid)) !== undefined)
    .filter((pid) => mine(read(`/proc/${pid}/cmdline`)) || mine(read(`/proc/${pid}/cgroup`)))
    .map((pid) => `process ${pid}: ${read(`/proc/${pid}/cmdline`).replaceAll("\0", " ")}`);
  const sides = [names, besideOf(slot)];
  const ofSide = ({ netns, name, devices }: SlotNames) => [netns, devices, `/run/systemd/nspawn/propagate/${name}`];
  const files = [...sides.flatMap(ofSide), names.directory];
  const cgroups = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].flatMap((mount) =>
    sides.map(({ name }) => join(mount, name)),
  );
  const rows = [read("/proc/mounts"), execFileSync("losetup", ["-a"], { encoding: "utf8" })].join("\n").split("\n");
  return [...processes, ...[...files, ...cgroups].filter(existsSync), ...rows.filter(mine)];
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
