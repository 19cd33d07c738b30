import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BASELINE_PACKAGES } from "../../cloud-init/baseline.ts";
import { ensureImage } from "../../runtime/local/image.ts";
import { providerMirror } from "../../scripts/provider-mirror.ts";
import { HetznerApi } from "../integration/support/hetzner/api.ts";
import { Hosts, OPERATOR, STRANGER } from "../integration/support/hetzner/hosts.ts";
import { ubuntuImageMissing } from "../integration/support/image-missing.ts";
import { ok, Project } from "../integration/support/project.ts";

// A server of the emulated Hetzner Cloud with a real root file system of Ubuntu 24.04: its cloud-init, its sshd by a socket.

const NOBLE = { os: "ubuntu-24.04", packages: BASELINE_PACKAGES } as const;
const missing = await ubuntuImageMissing(NOBLE);
if (missing !== undefined) console.log(`not run: a server of Hetzner's with Ubuntu 24.04: ${missing}`);

const NOT_A_CONTAINERS = ["root/clock", "root/kernel-settings"];

const APP = `
import { App, TerraformStack } from "cdktf";
import { Access, AgentHost, HetznerMachine, ModelProvider, Runtime } from "KIT";

const app = new App();
const stack = new TerraformStack(app, "noble");
const machine = new HetznerMachine(stack, "machine", { serverType: "cx33", location: "fsn1", image: "ubuntu-24.04" });
const access = Access.fromEnv({ key: "BAILIWICK_ADMIN_KEY", from: "BAILIWICK_ADMIN_CIDR" });
const host = new AgentHost(stack, "noble", { machine, access });
const source = ${JSON.stringify(resolve(import.meta.dirname, "../integration/support/puppet"))};
const agent = host.addAgent("puppet", {
  runtime: Runtime.command({ source, argv: ["node", "./main.mjs"], health: "/healthz", ask: "/v1/chat/completions" }),
});
host.addModel("demo", ModelProvider.demo()).grantInvoke(agent, { models: ["demo"] });
host.addWorkspace("desk").grantReadWrite(agent);
agent.allowEgress("granted.example.com");
app.synth();
`;

describe.skipIf(missing !== undefined)("a host on a server of Hetzner's with Ubuntu 24.04", () => {
  let hosts: Hosts;
  let api: HetznerApi;
  let project: Project;
  const ssh = async (command: string) => ok(await project.bailiwick(["ssh", "noble", command])).stdout.trim();

  beforeAll(async () => {
    hosts = new Hosts(await ensureImage({ ...NOBLE, progress: console.log }));
    api = new HetznerApi(hosts);
    const endpoint = await api.start();
    await hosts.expose(Number(new URL(endpoint).port));
    const env = {
      ...{ HCLOUD_ENDPOINT: endpoint, HCLOUD_TOKEN: api.token, TF_CLI_CONFIG_FILE: await providerMirror(console.log) },
      BAILIWICK_ADMIN_CIDR: `${OPERATOR}/32`,
    };
    project = new Project(APP, env, hosts);
    const key = join(project.dir, "id_ed25519");
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "ada", "-f", key]);
    project.env.BAILIWICK_ADMIN_KEY = readFileSync(`${key}.pub`, "utf8").trim();
    project.env.BAILIWICK_SSH_KEY = key;
    await project.build("noble");
    ok(await project.cdktf(["deploy", "noble", "--auto-approve", "--skip-provider-lock"]));
  });

  afterAll(async () => {
    await hosts?.close();
    await api?.stop();
    project?.remove();
  });

  it("is Ubuntu, whose sshd is started by its socket, and has no account that Ubuntu's images have", async () => {
    expect(await ssh(". /etc/os-release; echo $ID $VERSION_ID")).toBe("ubuntu 24.04");
    expect(await ssh("systemctl is-active ssh.service ssh.socket")).toBe("active\nactive");
    expect(await ssh("getent passwd ubuntu || echo none")).toBe("none");
    expect([...api.world.servers.values()].map(({ image }) => image)).toEqual(["ubuntu-24.04"]);
  });

  it("answers, and holds everything that verify asks of it, but a kernel, a clock and an internet of its own", async () => {
    expect(ok(await project.bailiwick(["ask", "noble", "are you there?"])).stdout.trim()).not.toBe("");
    const report = JSON.parse((await project.bailiwick(["verify", "noble", "--json"])).stdout) as {
      held: number;
      probes: { id: string; verdict: string; found: string }[];
    };
    expect(report.held).toBeGreaterThan(60);
    const expected = [...NOT_A_CONTAINERS, "agent/puppet/name/granted.example.com"];
    expect(report.probes.filter(({ id, verdict }) => verdict !== "held" && !expected.includes(id))).toEqual([]);
    const [server] = api.world.servers.values();
    const address = server === undefined ? "" : (api.world.addressOf(server) ?? "");
    expect(await hosts.says(address, 22, STRANGER)).toBe("silent");
  });

  it("leaves nothing over when it is destroyed", async () => {
    ok(await project.cdktf(["destroy", "noble", "--auto-approve", "--skip-provider-lock"]));
    expect(api.world.counts()).toEqual({});
    expect(hosts.leftovers()).toEqual([]);
  });
});
