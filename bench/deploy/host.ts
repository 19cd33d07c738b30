import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { machineStatus } from "../../runtime/local/machine.ts";
import { initOf } from "../../runtime/local/processes.ts";
import { ok, Project, type Ran } from "../../test/integration/support/project.ts";

/** One real local host of a project of its own, driven by the real `cdktf` and `bailiwick`, as its users do. */
export class BenchHost {
  readonly project: Project;
  readonly name: string;

  /** @param app text of its `main.ts`, whose one stack and host are called `name` */
  constructor(name: string, app: string, env: Record<string, string> = {}) {
    this.name = name;
    this.project = new Project(app, env);
    process.env.BAILIWICK_STATE = this.project.env.BAILIWICK_STATE; // where this process finds the machine
  }

  async deploy(env: Record<string, string> = {}): Promise<Ran> {
    return ok(await this.project.cdktf(["deploy", this.name, "--auto-approve"], env));
  }

  /** What a `bailiwick` command prints with `--json`. */
  async json<T>(args: string[], env: Record<string, string> = {}): Promise<T> {
    return JSON.parse(ok(await this.project.bailiwick([...args, "--json"], env)).stdout) as T;
  }

  async destroy(): Promise<void> {
    await this.undeploy();
    this.project.remove();
  }

  /** Destroys the host, to be deployed again. */
  async undeploy(): Promise<void> {
    ok(await this.project.cdktf(["destroy", this.name, "--auto-approve"]));
  }

  get slot(): string {
    const slots = readdirSync(join(this.project.dir, "state/local"));
    if (slots.length !== 1 || slots[0] === undefined) throw new Error(`expected one slot, found ${slots.join(", ")}`);
    return slots[0];
  }

  async root(command: string): Promise<string> {
    return rootIn(this.slot, command);
  }
}

/** Runs a shell command as root in the guest of a slot, past its SSH server. */
export async function rootIn(slot: string, command: string): Promise<string> {
  const status = await machineStatus(slot);
  const init = status.state === "running" && status.pid !== undefined ? initOf(status.pid)?.pid : undefined;
  if (init === undefined) throw new Error(`the machine of slot ${slot} does not run`);
  const args = ["-t", String(init), "-m", "-u", "-i", "-n", "-p", "/bin/sh", "-c", command];
  const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };
  const ran = spawnSync("nsenter", args, { encoding: "utf8", timeout: 120_000, env });
  if (ran.status !== 0) throw new Error(`in the guest, \`${command}\` ended with ${ran.status}: ${ran.stderr}`);
  return ran.stdout.trim();
}
