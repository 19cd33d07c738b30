import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { cpSync, existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { readBindings } from "../../../runtime/cli/project.ts";
import { machineStatus, startMachine } from "../../../runtime/local/machine.ts";
import { halt } from "../../../runtime/local/nspawn.ts";
import { initOf } from "../../../runtime/local/processes.ts";
import { namesOf } from "../../../runtime/local/slot.ts";
import { buildComponents } from "../../../runtime/release/components.ts";
import { type PushResult, push } from "../../../runtime/release/push.ts";
import type { Bindings } from "../../../runtime/spec/binding.ts";
import { type HostSpec, parseHostSpec } from "../../../runtime/spec/host-spec.ts";
import { ok, Project } from "../support/project.ts";

const VERSIONED = join(import.meta.dirname, "versioned");

/** Name of the agent's virtual key. */
export const KEY = "agent.crew.virtual-key";

const APP = `
import { App, TerraformStack } from "cdktf";
import { Access, AgentHost, LocalMachine, ModelProvider, Runtime, Secret } from "KIT";

const app = new App();
const stack = new TerraformStack(app, "bed");
const host = new AgentHost(stack, "bed", {
  machine: new LocalMachine(stack, "machine", { engine: "nspawn", rootGiB: 4, dataGiB: 1 }),
  access: Access.operator(),
  timeouts: { healthSeconds: 20, confirmSeconds: 6, drainSeconds: 3 },
});
const crew = host.addAgent("crew", {
  runtime: Runtime.command({ source: "daemon", argv: ["node", "./main.mjs"], env: { VERSION: "0" }, health: "/healthz" }),
});
host.addModel("demo", ModelProvider.demo()).grantInvoke(crew, { models: ["demo"] });
host.addModel("paid", ModelProvider.openai({ apiKey: Secret.fromEnv("BED_SECRET") })).grantInvoke(crew, { models: ["any"] });
crew.allowEgress("v0.example.com");
app.synth();
`;

export interface Release {
  /** Says the agent, and so does the name it is granted: a host with two versions is a mix of two releases. */
  version: number;
  behaviour?: "well" | "never healthy" | "stubborn" | `crashes after ${number} s`;
  /** Whether the agent's component is another one, 8 MiB large. */
  component?: boolean;
  secret?: string;
  /** Models of the demo provider that the agent is granted, and calls of it at once; default: `demo`, no limit. */
  models?: string[];
  concurrentCalls?: number;
}

export interface PushHooks {
  /** Address to push to; default: the machine's own. */
  port?: number;
  progress?: (line: string) => void;
  renew?: readonly string[];
}

/** A real host on which releases are pushed and faults happen, and which is then looked at from outside its own ssh. */
export class Bed {
  readonly project = new Project(APP, { BED_SECRET: "first-secret" });
  #spec!: HostSpec;
  #bindings!: Bindings;
  #specPath!: string;
  readonly #saved = { ...process.env };

  async start(): Promise<void> {
    Object.assign(process.env, this.project.env);
    cpSync(VERSIONED, join(this.project.dir, "daemon"), { recursive: true });
    ok(await this.project.cdktf(["deploy", "bed", "--auto-approve"]));
    await this.refresh();
  }

  /** Reads spec and state again, as after a deploy. */
  async refresh(): Promise<void> {
    const stackDir = join(this.project.dir, "cdktf.out/stacks/bed");
    const specPath = join(stackDir, "bailiwick/bed.json");
    this.#specPath = specPath;
    this.#spec = parseHostSpec(JSON.parse(readFileSync(specPath, "utf8")));
    this.#bindings = await readBindings({ name: "bed", spec: this.#spec, specPath, stack: "bed", stackDir });
  }

  async destroy(): Promise<void> {
    await this.project.cdktf(["destroy", "bed", "--auto-approve"]);
    this.project.remove();
    for (const key of Object.keys(process.env)) if (!(key in this.#saved)) delete process.env[key];
    Object.assign(process.env, this.#saved);
  }

  get slot(): string {
    const { machine } = this.#bindings;
    if (machine.kind !== "local") throw new Error("the bed is a local machine");
    return machine.slot;
  }

  async push(release: Release, { port, progress = () => {}, renew = [] }: PushHooks = {}): Promise<PushResult> {
    const {
      version,
      behaviour = "well",
      component = false,
      secret,
      models = ["demo"],
      concurrentCalls = null,
    } = release;
    const spec = structuredClone(this.#spec);
    const runtime = spec.agents.crew?.runtime;
    if (runtime?.kind !== "command") throw new Error("the bed's agent is a command");
    runtime.env = { VERSION: String(version), BEHAVIOUR: behaviour };
    spec.grants.egress = [{ principal: "agent/crew", name: `v${version}.example.com` }];
    const grant = spec.grants.invoke.find(({ model }) => model === "demo");
    if (grant !== undefined) Object.assign(grant, { models, limits: { ...grant.limits, concurrentCalls } });
    if (component) writeFileSync(join(this.project.dir, "daemon/ballast"), randomBytes(8 * 1024 * 1024));
    if (secret !== undefined) process.env.BED_SECRET = secret;
    const status = await machineStatus(this.slot);
    if (status.state !== "running") throw new Error(`the bed is ${status.state}`);
    writeFileSync(this.#specPath, JSON.stringify(spec)); // what `bailiwick status` and `verify` compare the host with
    const file = join(process.env.XDG_CONFIG_HOME ?? "", "bailiwick/operator_ed25519");
    return push({
      ...{ spec, bindings: this.#bindings, kitVersion: "0.0.0-test", project: this.project.dir, progress, renew },
      emulated: false,
      address: { host: "127.0.0.1", port: port ?? status.port },
      identity: { kind: "file", path: file },
      admin: Object.keys(spec.access.admins)[0] ?? "",
      components: buildComponents(spec, { project: this.project.dir, progress: () => {} }),
      why: `version ${version}`,
    });
  }

  /** Pid of the guest's first process. */
  async init(): Promise<number> {
    const status = await machineStatus(this.slot);
    const pid = status.state === "running" && status.pid !== undefined ? initOf(status.pid)?.pid : undefined;
    if (pid === undefined) throw new Error("the bed does not run");
    return pid;
  }

  /** Runs a shell command as root in the guest, past its sshd. */
  async root(command: string): Promise<string> {
    const ran = await this.tryRoot(command);
    if (ran.status !== 0) throw new Error(`in the guest, \`${command}\` ended with ${ran.status}: ${ran.text}`);
    return ran.text;
  }

  async tryRoot(command: string): Promise<{ status: number | null; text: string }> {
    const args = ["-t", String(await this.init()), "-m", "-u", "-i", "-n", "-p", "/bin/sh", "-c", command];
    const ran = spawnSync("nsenter", args, {
      encoding: "utf8",
      timeout: 60_000,
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
    });
    return { status: ran.status, text: `${ran.stdout}${ran.stderr}`.trim() };
  }

  /** What the agent answers on a path; null if it does not. */
  async agent(path: string): Promise<string | null> {
    const url = `http://127.0.0.1:${(this.#spec.agents.crew?.uid ?? 0) - 10_000}${path}`;
    const program = `import sys,urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode(), end="")`;
    const ran = await this.tryRoot(`/usr/bin/python3 -I -c '${program}' '${url}'`);
    return ran.status === 0 ? ran.text : null;
  }

  /** The text of the agent's virtual key, of the version that the current release names. */
  virtualKey(): Promise<string> {
    return this.root(
      `v=$(grep -o '${KEY}/[0-9a-f]*' /opt/bailiwick/current/units/bailiwick-agent-crew.service | head -1 | cut -d/ -f2); systemd-creds decrypt --name=${KEY} /etc/bailiwick/credentials/${KEY}/$v.cred -`,
    );
  }

  /** The version that the agent says it is of. */
  async version(): Promise<number> {
    return Number(await this.agent("/version"));
  }

  /** Digest of the release that the link names. */
  async current(): Promise<string> {
    return (await this.root("basename $(readlink /opt/bailiwick/current)")).trim();
  }

  /** What of two releases is mixed, not running, or still open; nothing when one release serves, whole and for good. */
  async faults(version: number): Promise<string[]> {
    const found: string[] = [];
    const expected = (what: string, is: string | null, wanted: string) => {
      if (is !== wanted) found.push(`${what} is ${is}, not ${wanted}`);
    };
    expected("the agent", await this.agent("/version"), String(version));
    const files = await this.root(
      `cd /opt/bailiwick/current && grep -o 'v[0-9]*.example.com' etc/agents/crew/hosts etc/egress/haproxy.cfg | sort -u | cut -d: -f2 | sort -u`,
    );
    expected("the granted name", files, `v${version}.example.com`);
    // what systemd runs is what the link says, and nothing waits to be read again
    const units = "$(ls -d /opt/bailiwick/current/units/*.service | xargs -n1 basename | grep -v @)";
    const shown = await this.root(
      `for u in ${units}; do systemctl show -p Id,ActiveState,NeedDaemonReload,FragmentPath $u | tr '\\n' ' '; echo; done`,
    );
    const current = await this.current();
    for (const line of shown.split("\n")) {
      if (!line.includes("ActiveState=active")) found.push(line);
      if (!line.includes(`/opt/bailiwick/releases/${current}/`) && !line.includes("/run/systemd/generator"))
        found.push(line);
    }
    const open = await this.tryRoot(
      "ls /opt/bailiwick/unconfirmed.json /etc/systemd/system/bailiwick-settle.service 2>/dev/null",
    );
    if (open.text !== "") found.push(`unconfirmed: ${open.text}`);
    return found;
  }

  /** Waits until one of these versions serves, whole. @returns which */
  async serves(versions: readonly number[], seconds = 60): Promise<number> {
    const deadline = Date.now() + seconds * 1000;
    let last: string[] = [];
    for (;;) {
      for (const version of versions) {
        last = await this.faults(version).catch((error: Error) => [error.message]);
        if (last.length === 0) return version;
      }
      if (Date.now() > deadline) throw new Error(`none of versions ${versions.join(", ")} serves:\n${last.join("\n")}`);
      await sleep(250);
    }
  }

  /** A push that must hold, and then nothing else is on the host. */
  async pushHolds(release: Release): Promise<PushResult> {
    const result = await this.push(release);
    expect(result.healthy).toBe(true);
    await this.serves([release.version], 5);
    return result;
  }

  /** Waits for something to be true of the guest's files, looked at from outside many times a second. */
  async until(holds: (root: string) => boolean, what: string, seconds = 60): Promise<void> {
    const root = `/proc/${await this.init()}/root`;
    for (const deadline = Date.now() + seconds * 1000; Date.now() < deadline; await sleep(2)) if (holds(root)) return;
    throw new Error(`${what} did not happen within ${seconds} s`);
  }

  /**
   * The power goes: the guest stands still at once, what its disks hold at that instant is all that is left, and it boots
   * from that. Nothing was synced.
   */
  async powerCut(options: { bootSeconds?: number } = {}): Promise<void> {
    const names = namesOf(this.slot);
    const script = `
      set -e
      mount -t cgroup2 none /sys/fs/cgroup
      echo 1 >/sys/fs/cgroup/$0/cgroup.freeze
      until grep -q 'frozen 1' /sys/fs/cgroup/$0/cgroup.events; do sleep 0.01; done
      for disk in "$@"; do cp --sparse=always --reflink=auto "$disk" "$disk.cut"; done`;
    const args = ["-m", "--propagation", "private", "bash", "-c", script, names.name, names.rootDisk, names.dataDisk];
    const ran = spawnSync("unshare", args, { encoding: "utf8" });
    if (ran.status !== 0) throw new Error(`the power could not be cut: ${ran.stderr}`);
    await halt(names, 0);
    for (const disk of [names.rootDisk, names.dataDisk]) spawnSync("mv", [`${disk}.cut`, disk]);
    await startMachine(this.slot, options);
  }
}

/** Whether a release is being switched to and nobody has confirmed it. */
export const isUnconfirmed = (root: string) => existsSync(join(root, "opt/bailiwick/unconfirmed.json"));

/** Digest that the guest's link names, seen from outside. */
export function linkOf(root: string): string {
  try {
    return readlinkSync(join(root, "opt/bailiwick/current")).split("/").at(-1) ?? "";
  } catch {
    return "";
  }
}

/** Files of a folder of the guest, seen from outside. */
export function filesIn(root: string, folder: string): string[] {
  try {
    return readdirSync(join(root, folder));
  } catch {
    return [];
  }
}
