import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { timed } from "../results.ts";
import type { BenchHost } from "./host.ts";

const FOLDER = "/opt/by-ansible";

/**
 * The same files pushed by Ansible (Debian's package) over the same SSH server by the same key: the release's files by
 * `copy`, the units kept running, the agent restarted by a handler when a file changed. Components are not looked at again
 * once unpacked, which favours Ansible. Pipelining and one persistent connection, as its manual advises.
 */
export class Ansible {
  readonly #host: BenchHost;
  readonly #folder: string;

  private constructor(host: BenchHost) {
    this.#host = host;
    this.#folder = join(host.project.dir, "ansible");
  }

  /** @returns undefined when the machine has no Ansible */
  static async prepare(host: BenchHost, options: { hostKey: string; port: number; agent: string }) {
    try {
      execFileSync("ansible-playbook", ["--version"]);
    } catch {
      return undefined;
    }
    const ansible = new Ansible(host);
    await ansible.#write(options);
    return ansible;
  }

  async #write({ hostKey, port, agent }: { hostKey: string; port: number; agent: string }): Promise<void> {
    const folder = this.#folder;
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(join(folder, "release"), { recursive: true });
    const encoded = await this.#host.root("cd /opt/bailiwick/current/ && tar c . | base64 -w0");
    execFileSync("tar", ["x", "-C", join(folder, "release")], { input: Buffer.from(encoded, "base64") });
    const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
    write("known_hosts", `[127.0.0.1]:${port} ${hostKey}\n`);
    const key = join(this.#host.project.env.XDG_CONFIG_HOME ?? "", "bailiwick/operator_ed25519");
    const ssh = `-o UserKnownHostsFile=${folder}/known_hosts -o ControlMaster=auto -o ControlPersist=60s -o IdentitiesOnly=yes`;
    write(
      "ansible.cfg",
      `[defaults]\ninventory = hosts\ninterpreter_python = /usr/bin/python3\n[ssh_connection]\npipelining = True\nssh_args = ${ssh}\ncontrol_path_dir = ${folder}/cp\n`,
    );
    const login = `ansible_host=127.0.0.1 ansible_port=${port} ansible_user=admin`;
    write("hosts", `bench ${login} ansible_ssh_private_key_file=${key} ansible_become=true\n`);
    const units = [`bailiwick-agent-${agent}`, "bailiwick-gateway", "bailiwick-egress"];
    const tasks = [
      {
        copy: { src: "release/", dest: `${FOLDER}/`, owner: "root", group: "root", mode: "preserve" },
        notify: "restart",
      },
      ...units.map((name) => ({ systemd: { name, state: "started" } })),
    ];
    const handlers = [
      { name: "restart", systemd: { name: `bailiwick-agent-${agent}`, state: "restarted", daemon_reload: true } },
    ];
    write("play.yml", JSON.stringify([{ hosts: "all", gather_facts: false, tasks, handlers }], null, 2));
  }

  /** One file of the release has another content at the next run. */
  change(file: string, content: string): void {
    writeFileSync(join(this.#folder, "release", file), content);
  }

  /** Runs the play. @returns seconds, and the recap's number of changed tasks */
  async run(): Promise<{ seconds: number; changed: number }> {
    const { seconds, value } = await timed(
      () =>
        new Promise<string>((resolve, reject) => {
          const child = spawn("ansible-playbook", ["play.yml"], {
            cwd: this.#folder,
            env: { ...process.env, ANSIBLE_CONFIG: join(this.#folder, "ansible.cfg"), ANSIBLE_NOCOLOR: "1" },
            stdio: ["ignore", "pipe", "pipe"],
          });
          let text = "";
          for (const stream of [child.stdout, child.stderr])
            stream.on("data", (chunk) => {
              text += chunk;
            });
          child.on("error", reject);
          child.on("close", (code) =>
            code === 0 ? resolve(text) : reject(new Error(`ansible ended with ${code}: ${text}`)),
          );
        }),
    );
    return { seconds, changed: Number(/changed=(\d+)/.exec(value)?.[1] ?? Number.NaN) };
  }

  /** Ends the persistent connection. */
  close(): void {
    try {
      execFileSync("sh", ["-c", `for s in "$0"/cp/*; do ssh -o ControlPath="$s" -O exit bench; done`, this.#folder], {
        stdio: "ignore",
      });
    } catch {
      // it ended by itself
    }
  }
}
