import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { App, Fn, TerraformOutput, TerraformResource, type TerraformResourceLifecycle, TerraformStack } from "cdktf";
import { Access, AgentHost, HetznerMachine, hcloud, ModelProvider, Secret } from "../../constructs/index.ts";

// One app, synthesised in a process of its own: `node --import tsx bench/synth/app.ts hosts|raw <number of hosts>`. Prints
// what it took as one line of JSON.

const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEkV2asJ/c/qE3n5UjrlKMnt1kjcLm4YzVGN1UyGEMsU ada";

/** A `terraform_data` as cdktf makes the simplest one. */
class Data extends TerraformResource {
  readonly #given: object;

  constructor(stack: TerraformStack, id: string, given: object, lifecycle: TerraformResourceLifecycle = {}) {
    super(stack, id, { terraformResourceType: "terraform_data", lifecycle });
    this.#given = given;
  }

  attribute(name: string): string {
    return this.getStringAttribute(name);
  }

  protected override synthesizeAttributes(): Record<string, unknown> {
    return { ...this.#given };
  }
}

function hosts(stack: TerraformStack, n: number): void {
  const access = Access.ssh({ admins: { ada: KEY }, from: ["203.0.113.7/32"] });
  const anthropic = ModelProvider.anthropic({ apiKey: Secret.fromEnv("ANTHROPIC_API_KEY") });
  for (let i = 0; i < n; i++) {
    const machine = new HetznerMachine(stack, `machine-${i}`, { serverType: "cx33", location: "fsn1" });
    const host = new AgentHost(stack, `host-${i}`, { machine, access });
    const agent = host.addAgent("main");
    host.addModel("claude", anthropic).grantInvoke(agent, { models: ["claude-sonnet-4-6"] });
    host.addWorkspace("notes").grantReadWrite(agent);
    agent.allowEgress("api.example.com");
  }
}

/**
 * The resources that a host is made of, by cdktf alone and as a team would write them: the same types and as many, with
 * references between them and user data of the same size.
 */
function raw(stack: TerraformStack, n: number): void {
  const { firewall, server, sshKey, volume, volumeAttachment } = hcloud;
  const provider = new hcloud.provider.HcloudProvider(stack, "hcloud");
  const userData = "#".repeat(12_000);
  const number = (id: string) => Fn.tonumber(id) as unknown as number;
  for (let i = 0; i < n; i++) {
    const name = `host-${i}`;
    const labels = { "bailiwick-host": name };
    const generation = new Data(stack, `generation-${i}`, { triggers_replace: { name, serverType: "cx33" } });
    const bootstrap = new Data(stack, `bootstrap-${i}`, { input: { publicKey: KEY }, triggers_replace: { key: KEY } });
    bootstrap.addOverride("lifecycle.replace_triggered_by", [generation.fqn]);
    const disk = new volume.Volume(stack, `volume-${i}`, { provider, name, size: 10, location: "fsn1", labels });
    const rule = [{ direction: "in", protocol: "tcp", port: "22", sourceIps: ["203.0.113.7/32"] }];
    const wall = new firewall.Firewall(stack, `firewall-${i}`, { provider, name, labels, rule });
    const key = new sshKey.SshKey(stack, `key-${i}`, { provider, name, labels, publicKey: `${KEY}-${i}` });
    const machine = new server.Server(stack, `server-${i}`, {
      ...{ provider, name, labels, serverType: "cx33", location: "fsn1", image: "debian-13" },
      userData: `${userData}${Fn.jsonencode(bootstrap.attribute("triggers_replace.key"))}${disk.id}${bootstrap.attribute("output.publicKey")}`,
      ...{ sshKeys: [key.id], firewallIds: [number(wall.id)], publicNet: [{ ipv4Enabled: true, ipv6Enabled: true }] },
    });
    const ids = { serverId: number(machine.id), volumeId: number(disk.id) };
    new volumeAttachment.VolumeAttachment(stack, `attachment-${i}`, { provider, ...ids, automount: false });
    const claim = new Data(stack, `claim-${i}`, { input: { instance: machine.id } });
    const bindings = {
      machine: { address: machine.ipv4Address, instance: machine.id },
      bootstrap: { publicKey: bootstrap.attribute("output.publicKey"), claimedBy: claim.attribute("output.instance") },
    };
    new Data(stack, `release-${i}`, { triggers_replace: bindings, input: Fn.jsonencode(bindings) });
    new TerraformOutput(stack, `out-${i}`, { value: bindings });
  }
}

function inFolder<T>(work: (app: App, outdir: string) => T): T {
  const outdir = mkdtempSync(join(tmpdir(), "bailiwick-bench-"));
  try {
    return work(new App({ outdir }), outdir);
  } finally {
    rmSync(outdir, { recursive: true });
  }
}

const [kind = "hosts", count = "1"] = process.argv.slice(2);
const before = process.cpuUsage();
const result = inFolder((app, outdir) => {
  const stack = new TerraformStack(app, "s");
  (kind === "raw" ? raw : hosts)(stack, Number(count));
  app.synth();
  const { user, system } = process.cpuUsage(before);
  const { resource } = JSON.parse(readFileSync(join(outdir, "stacks/s/cdk.tf.json"), "utf8")) as { resource: object };
  const resources = Object.values(resource).flatMap((all) => Object.keys(all as object)).length;
  return { cpu: (user + system) / 1e6, mb: process.resourceUsage().maxRSS / 1024, resources };
});
console.log(JSON.stringify(result));
