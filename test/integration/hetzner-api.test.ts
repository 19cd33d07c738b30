import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { TerraformVariable } from "cdktf";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  Access,
  AgentHost,
  HetznerMachine,
  type HetznerMachineProps,
  ModelProvider,
  Secret,
} from "../../constructs/index.ts";
import { generateSshKeyPair } from "../../constructs/openssh-key.ts";
import { Bindings } from "../../runtime/spec/binding.ts";
import { providerMirror } from "../../scripts/provider-mirror.ts";
import { type Run, run, TerraformProject, terraformMissing } from "../stacks/terraform-project.ts";
import { HetznerApi } from "./support/hetzner/api.ts";

// The real provider and real Terraform, against an emulation of the API behind which nothing runs. See hetzner.test.ts for
// servers that are hosts.
const why = terraformMissing ? "terraform is not on the PATH" : goMissing() ? "go is not on the PATH" : undefined;
if (why !== undefined) console.log(`not run: the real Hetzner provider: ${why}`);

function goMissing(): boolean {
  return spawnSync("go", ["version"]).error !== undefined;
}

const ada = generateSshKeyPair("ada").publicKey;
const bob = generateSshKeyPair("bob").publicKey;
const CANARY = "canary-5b1e-of-this-test";

interface Variation {
  readonly machine?: Partial<HetznerMachineProps>;
  readonly from?: readonly string[];
  readonly admins?: Record<string, string>;
  readonly agents?: readonly string[];
}

describe.skipIf(why !== undefined)("the real Hetzner provider", () => {
  let mirror: string;
  let api: HetznerApi;
  let project: TerraformProject;

  beforeAll(async () => {
    mirror = await providerMirror(console.log);
  });

  beforeEach(async () => {
    api = new HetznerApi();
    const endpoint = await api.start();
    project = new TerraformProject({
      ...{ TF_CLI_CONFIG_FILE: mirror, HCLOUD_ENDPOINT: endpoint, HCLOUD_TOKEN: api.token, BW_CANARY: CANARY },
    });
  });

  afterEach(async () => {
    project.remove();
    await api.stop();
  });

  function synth({
    machine = {},
    from = ["203.0.113.7/32"],
    admins = { ada },
    agents = ["ops"],
  }: Variation = {}): void {
    project.synth((stack) => {
      const host = new AgentHost(stack, "my-host", {
        machine: new HetznerMachine(stack, "machine", { serverType: "cx33", location: "fsn1", ...machine }),
        access: Access.ssh({ admins, from }),
      });
      const claude = host.addModel("claude", ModelProvider.anthropic({ apiKey: Secret.fromEnv("BW_CANARY") }));
      for (const name of agents) claude.grantInvoke(host.addAgent(name), { models: ["claude-sonnet-4-6"] });
    });
  }

  async function deploy(variation: Variation = {}): Promise<Run> {
    synth(variation);
    await project.init();
    const done = await project.apply();
    expect(done.code, done.output).toBe(0);
    return done;
  }

  function plan(...args: string[]): Promise<Run> {
    return project.terraform("plan", "-no-color", "-input=false", "-detailed-exitcode", ...args);
  }

  const server = () => [...api.world.servers.values()][0];
  const bindingsOf = ({ bindings }: { bindings?: string }) => Bindings.parse(JSON.parse(bindings ?? "null"));
  const pushes = () => {
    const calls = project.calls().filter(({ verb }) => verb === "push");
    return calls.map(bindingsOf);
  };

  it("makes the server with its firewall in the very request, and pushes to its address", async () => {
    await deploy();
    expect(api.world.counts()).toEqual({ servers: 1, volumes: 1, firewalls: 1, ssh_keys: 1, primary_ips: 2 });
    const [firewall] = api.world.firewalls.values();
    const [volume] = api.world.volumes.values();
    const created = api.calls.find(({ route }) => route === "POST /servers");
    expect(created?.body).toMatchObject({ name: "my-host", firewalls: [{ firewall: firewall?.id }], location: "fsn1" });
    expect(firewall?.rules).toMatchObject([
      { direction: "in", protocol: "tcp", port: "22", source_ips: ["203.0.113.7/32"] },
    ]);
    expect(api.routes().join()).not.toContain("apply_to_resources");
    const order = api.routes();
    expect(order.indexOf("201 POST /firewalls")).toBeLessThan(order.indexOf("201 POST /servers"));
    expect(server()?.userData).toContain(`/dev/disk/by-id/scsi-0HC_Volume_${volume?.id}`);
    expect(server()?.userData).not.toMatch(/BAILIWICK_HOST_KEY|BAILIWICKID|\$\{/);
    expect(volume).toMatchObject({ server: server()?.id, format: null });
    const [bindings] = pushes();
    const address = [...api.world.primary_ips.values()].find(({ type }) => type === "ipv4")?.ip;
    expect(bindings?.machine).toEqual({ kind: "remote", address, instance: String(server()?.id) });
    expect(bindings?.bootstrap.claimedBy).toBe(String(server()?.id));
    expect(server()?.userData).toContain(`ed25519_public: "${bindings?.bootstrap.publicKey}"`);

    const again = await plan();
    expect(again.code, again.output).toBe(0);
    synth();
    expect((await plan()).code).toBe(0);

    const destroyed = await project.apply("-destroy");
    expect(destroyed.code, destroyed.output).toBe(0);
    expect(api.world.counts()).toEqual({});
  });

  it("never replaces the server for an admin, a network, an agent or a grant; the firewall follows in place", async () => {
    await deploy();
    const before = server()?.id;
    project.calls();
    await deploy({ from: ["198.51.100.0/24"], admins: { ada, bob }, agents: ["ops", "second"] });
    expect(server()?.id).toBe(before);
    expect([...api.world.firewalls.values()][0]?.rules[0]?.source_ips).toEqual(["198.51.100.0/24"]);
    expect(pushes()).toHaveLength(1);
  });

  it("replaces the server and keeps the volume when the baseline changes, and the plan says why", async () => {
    await deploy();
    const [before] = pushes();
    const volume = [...api.world.volumes.keys()];
    synth({ admins: { ada: bob } });
    const { code, output } = await plan();
    expect(code).toBe(2);
    expect(output).toMatch(/baseline\s+= "[0-9a-f]{64}" -> "[0-9a-f]{64}"/);
    expect(output).toMatch(/my-host_generation\S* must be replaced/);
    expect(output).toMatch(/machine_server\S* (will|must) be replaced/);
    expect(output).toContain("replace_triggered_by");
    expect(output).not.toMatch(/hcloud_volume\.\S+ (will|must) be (replaced|destroyed)/);
    await deploy({ admins: { ada: bob } });
    const calls = project.calls();
    expect(calls.map(({ argv }) => argv.slice(0, 2).join(" "))).toEqual(["machine drain", "push my-host"]);
    const [drained, after] = calls.map(bindingsOf);
    expect(drained?.machine).toEqual(before?.machine);
    expect([...api.world.volumes.keys()]).toEqual(volume);
    expect([...api.world.volumes.values()][0]?.server).toBe(server()?.id);
    expect(after?.machine.instance).not.toBe(before?.machine.instance);
    expect(after?.bootstrap.claimedBy).toBe(after?.machine.instance);
    expect(after?.bootstrap.publicKey).not.toBe(before?.bootstrap.publicKey);
    expect(api.world.counts()).toEqual({ servers: 1, volumes: 1, firewalls: 1, ssh_keys: 1, primary_ips: 2 });
  });

  it("knows the key of a server that was deleted by hand and made again as spent", async () => {
    await deploy();
    const [before] = pushes();
    const gone = server();
    if (gone === undefined) throw new Error("there is no server");
    api.world.servers.delete(gone.id);
    for (const volume of api.world.volumes.values()) volume.server = null;
    for (const id of gone.primaryIps) api.world.primary_ips.delete(id);
    await deploy();
    const [after] = pushes();
    expect(after?.bootstrap).toEqual(before?.bootstrap);
    expect(after?.machine.instance).not.toBe(after?.bootstrap.claimedBy);
  });

  it("lets a volume grow, and fails the plan where it would shrink or move", async () => {
    await deploy({ machine: { dataGiB: 20 } });
    await deploy({ machine: { dataGiB: 30 } });
    expect([...api.world.volumes.values()][0]?.size).toBe(30);
    const flat = async (machine: Partial<HetznerMachineProps>) => {
      synth({ machine });
      const { code, output } = await plan();
      expect(code).toBe(1);
      return output.replaceAll(/[\s│]+/g, " ");
    };
    expect(await flat({ dataGiB: 20 })).toContain(
      "the data volume is larger than dataGiB, 20, and a volume cannot shrink",
    );
    expect(await flat({ dataGiB: 30, location: "hel1" })).toContain("stands in another location than hel1");
    expect(api.routes().join()).not.toContain("422");
  });

  it("joins a network of its own, is reached there when it has no public address, and leaves none behind", async () => {
    const privateNetwork = { range: "10.0.0.0/16", subnet: "10.0.1.0/24", zone: "eu-central" };
    await deploy({ machine: { ipv4: false, ipv6: false, privateNetwork } });
    expect(server()?.privateNet).toMatchObject([{ ip: "10.0.1.2" }]);
    expect(server()?.status).toBe("running");
    expect(pushes()[0]?.machine).toMatchObject({ address: "10.0.1.2" });
    expect((await plan()).code).toBe(0);
    const destroyed = await project.apply("-destroy");
    expect(destroyed.code, destroyed.output).toBe(0);
    expect(api.world.counts()).toEqual({});
  });

  it("refuses a token that stands for the whole internet", async () => {
    project.synth((stack) => {
      const office = new TerraformVariable(stack, "office", { type: "string", default: "0.0.0.0/0" });
      new AgentHost(stack, "my-host", {
        machine: new HetznerMachine(stack, "machine", { serverType: "cx33", location: "fsn1" }),
        access: Access.ssh({ admins: { ada }, from: [office.stringValue] }),
      });
    });
    await project.init();
    const { code, output } = await plan();
    expect(code).toBe(1);
    expect(output.replaceAll(/[\s│]+/g, " ")).toContain("a token stands for the whole internet");
    expect(api.world.counts()).toEqual({});
  });

  it("keeps a protected server and its volume until the protection is taken off", async () => {
    await deploy({ machine: { protect: true } });
    expect(server()?.protection).toEqual({ delete: true, rebuild: true });
    const refused = await project.apply("-destroy");
    expect(refused.code).toBe(1);
    expect(refused.output).toContain("protected");
    expect(api.world.counts()).toMatchObject({ servers: 1, volumes: 1 });
    await deploy({ machine: { protect: false } });
    expect((await project.apply("-destroy")).code).toBe(0);
    expect(api.world.counts()).toEqual({});
  });

  it("gets by a rate limit, a conflict and a lock, and after an unavailable type the next deploy goes on", async () => {
    api.failing(/POST \/firewalls$/, "rate_limit_exceeded");
    api.failing(/POST \/volumes$/, "conflict");
    api.failing(/actions\/attach$/, "locked");
    api.failing(/POST \/servers$/, "resource_unavailable");
    synth();
    await project.init();
    const failed = await project.apply();
    expect(failed.code).toBe(1);
    expect(failed.output).toContain("resource_unavailable");
    expect(api.world.counts()).not.toHaveProperty("servers");
    expect(pushes()).toEqual([]);
    await deploy();
    expect(pushes()).toHaveLength(1);
    for (const refused of ["429 POST /firewalls", "409 POST /volumes", "423 POST /volumes/:id/actions/attach"])
      expect(api.routes()).toContain(refused);
    expect((await project.apply("-destroy")).code).toBe(0);
    expect(api.world.counts()).toEqual({});
  });

  it("puts no secret and no private key where anybody could read it: plan, user data in state, requests", async () => {
    const { output } = await deploy();
    const state = readFileSync(join(project.folder, "terraform.tfstate"), "utf8");
    const [plain = ""] = [server()?.userData];
    expect(state + output + JSON.stringify(api.calls)).not.toContain(CANARY);
    expect(output).not.toContain("BEGIN OPENSSH");
    // the one private key in state is the one-time host key, where Terraform keeps it for a rebuild
    expect(plain).toContain("BEGIN OPENSSH PRIVATE KEY");
    const { resources } = JSON.parse(state) as { resources: { type: string; instances: unknown[] }[] };
    const ofServer = JSON.stringify(resources.filter(({ type }) => type === "hcloud_server"));
    expect(ofServer).not.toContain("BEGIN OPENSSH");
    expect(ofServer).not.toContain("bailiwick/apply");
  });

  it("deploys stacks/hetzner.ts by cdktf, changes it, and destroys it with nothing left over", {
    timeout: 240_000,
  }, async () => {
    const folder = mkdtempSync(join(tmpdir(), "bailiwick-hetzner-"));
    const settings = {
      ...{ language: "typescript", projectId: "test", sendCrashReports: "false" },
      app: `node ${resolve("test/run-typescript.mjs")} ${resolve("stacks/main.ts")}`,
      context: { "bailiwick:command": resolve("test/stacks/recording-command.mjs") },
    };
    writeFileSync(join(folder, "cdktf.json"), JSON.stringify(settings));
    writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }));
    symlinkSync(resolve("node_modules"), join(folder, "node_modules"));
    const cdktf = (cidr: string, ...args: string[]) => {
      const own = { BAILIWICK_ADMIN_KEY: ada, BAILIWICK_ADMIN_CIDR: cidr, XDG_CONFIG_HOME: folder, CI: "1" };
      const env = { ...process.env, ...project.env(), ...own, ANTHROPIC_API_KEY: CANARY };
      // the lock would ask the registry for what the mirror has
      const all = [...args, "--auto-approve", "--skip-provider-lock"];
      return run(resolve("node_modules/.bin/cdktf"), all, { cwd: folder, env });
    };
    try {
      const first = await cdktf("203.0.113.7/32", "deploy", "hetzner");
      expect(first.code, first.output).toBe(0);
      const made = server()?.id;
      expect(pushes()).toHaveLength(1);
      const second = await cdktf("198.51.100.0/24", "deploy", "hetzner");
      expect(second.code, second.output).toBe(0);
      expect(server()?.id).toBe(made);
      expect([...api.world.firewalls.values()][0]?.rules[0]?.source_ips).toEqual(["198.51.100.0/24"]);
      const found = spawnSync("grep", ["-rl", "--exclude-dir=node_modules", CANARY, folder], { encoding: "utf8" });
      expect(found).toMatchObject({ status: 1, stdout: "" });
      const destroyed = await cdktf("198.51.100.0/24", "destroy", "hetzner");
      expect(destroyed.code, destroyed.output).toBe(0);
      expect(api.world.counts()).toEqual({});
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
