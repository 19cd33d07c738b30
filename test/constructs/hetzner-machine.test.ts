import { type App, TerraformStack, TerraformVariable, Token } from "cdktf";
import { describe, expect, it } from "vitest";
import { HcloudProvider } from "../../constructs/imports/hcloud/provider/index.ts";
import {
  Access,
  AgentHost,
  type AgentHostProps,
  HetznerMachine,
  type HetznerMachineProps,
  LocalMachine,
  ModelProvider,
  Secret,
} from "../../constructs/index.ts";
import { ADA, access, anApp, BOB, differingLines, synthesise } from "./synthesised.ts";

interface Terraform {
  output: Record<string, unknown>;
  provider: { hcloud: unknown[] };
  resource: Record<string, Record<string, Record<string, unknown>>>;
}

const SMALL: HetznerMachineProps = { serverType: "cx33", location: "fsn1" };

function host(
  app: App,
  props: Partial<HetznerMachineProps> = {},
  given: Partial<AgentHostProps<HetznerMachine>> = {},
): AgentHost<HetznerMachine> {
  const stack = new TerraformStack(app, "s");
  return new AgentHost(stack, "ops", {
    machine: new HetznerMachine(stack, "box", { ...SMALL, ...props }),
    access,
    ...given,
  });
}

function terraform(props: Partial<HetznerMachineProps> = {}, given: Partial<AgentHostProps<HetznerMachine>> = {}) {
  const app = anApp();
  host(app, props, given);
  return JSON.parse(synthesise(app, "s").terraform) as Terraform;
}

function only(tf: Terraform, type: string): Record<string, unknown> {
  const all = Object.values(tf.resource[type] ?? {});
  expect(all).toHaveLength(1);
  return all[0] ?? {};
}

/** The user data in the Terraform, with what Terraform puts in left out. */
function userData(tf: Terraform): string {
  return String(only(tf, "hcloud_server").user_data).replaceAll(/\$\{[^}]*\}/g, "<>");
}

describe("a machine on Hetzner Cloud", () => {
  it("is drained before the cloud takes it or its volume away, by a step that names nothing but itself", () => {
    const tf = terraform();
    const drains = Object.values(tf.resource.terraform_data ?? {}).filter(({ triggers_replace }) =>
      Object.hasOwn((triggers_replace ?? {}) as object, "instance"),
    );
    const [server] = Object.keys(tf.resource.hcloud_server ?? {});
    const [attachment] = Object.keys(tf.resource.hcloud_volume_attachment ?? {});
    expect(drains).toMatchObject([
      {
        depends_on: [`hcloud_volume_attachment.${attachment}`],
        triggers_replace: { instance: `\${hcloud_server.${server}.id}` },
      },
    ]);
    const drain = drains[0] ?? {};
    const [step] = drain.provisioner as { "local-exec": Record<string, unknown> }[];
    const { when, command, environment } = step?.["local-exec"] ?? {};
    expect(when).toBe("destroy");
    expect(command).toMatch(/ machine drain ops --spec \S+ --from-terraform --generation [0-9a-f]{64}$/);
    expect(Object.values(environment ?? {})).toEqual([
      `\${jsonencode(self.input.bindings)}`,
      `\${self.input.generation}`,
    ]);
    const { generation } = drain.input as { generation: string };
    expect(command).toContain(generation);
    // another machine, and another number to compare with what the state has
    const other = Object.values(terraform({ serverType: "cx43" }).resource.terraform_data ?? {});
    expect(JSON.stringify(other)).not.toContain(generation);
  });

  it("has its firewall in its own creation, which admits SSH from the host's networks alone", () => {
    const tf = terraform();
    const [name] = Object.keys(tf.resource.hcloud_firewall ?? {});
    expect(only(tf, "hcloud_server").firewall_ids).toEqual([`\${hcloud_firewall.${name}.id}`]);
    expect(only(tf, "hcloud_firewall").rule).toEqual([
      { direction: "in", protocol: "tcp", port: "22", source_ips: ["203.0.113.7/32"] },
    ]);
    expect(tf.resource).not.toHaveProperty("hcloud_firewall_attachment");
  });

  it("opens to the whole internet only when that is said in words", () => {
    const everywhere = Access.ssh({ admins: { ada: ADA }, from: [Access.anywhere()] });
    expect(only(terraform({}, { access: everywhere }), "hcloud_firewall").rule).toMatchObject([
      { source_ips: ["0.0.0.0/0", "::/0"] },
    ]);
    expect(() => Access.ssh({ admins: { ada: ADA }, from: ["0.0.0.0/0"] })).toThrow("write Access.anywhere()");
    expect(() => Access.ssh({ admins: { ada: ADA }, from: ["203.0.113.7/24"] })).toThrow("host bits are set");
  });

  it("has a precondition where a network is known at apply only", () => {
    const app = anApp();
    const stack = new TerraformStack(app, "s");
    const office = new TerraformVariable(stack, "office", { type: "string" });
    const from = Access.ssh({ admins: { ada: ADA }, from: ["203.0.113.7/32", office.stringValue] });
    new AgentHost(stack, "ops", { machine: new HetznerMachine(stack, "box", SMALL), access: from });
    const tf = JSON.parse(synthesise(app, "s").terraform) as Terraform;
    expect(only(tf, "hcloud_firewall")).toMatchObject({
      rule: [{ source_ips: ["203.0.113.7/32", `\${var.office}`] }],
      lifecycle: { precondition: [{ condition: expect.stringContaining('endswith(var.office, "/0")') }] },
    });
  });

  it("splits more networks than a rule takes", () => {
    const from = Array.from({ length: 101 }, (_, i) => `203.0.${i}.0/24`);
    const rules = only(terraform({}, { access: Access.ssh({ admins: { ada: ADA }, from }) }), "hcloud_firewall").rule;
    expect((rules as { source_ips: string[] }[]).map((rule) => rule.source_ips.length)).toEqual([100, 1]);
  });

  it("makes Hetzner mail no password: the server has a key, of which nobody has the private half", () => {
    const tf = terraform();
    const key = only(tf, "hcloud_ssh_key");
    expect(key.public_key).toMatch(/^ssh-ed25519 AAAA/);
    expect(key.public_key).not.toBe(ADA);
    expect(key.lifecycle).toEqual({ ignore_changes: ["public_key"] });
    expect(only(tf, "hcloud_server").ssh_keys).toEqual([expect.stringContaining("hcloud_ssh_key.")]);
    expect(key.public_key).not.toBe(only(terraform(), "hcloud_ssh_key").public_key);
  });

  it("keeps its data on a volume that the host formats, not Hetzner, and that no backup of Hetzner's replaces", () => {
    const tf = terraform({ dataGiB: 20 });
    const volume = only(tf, "hcloud_volume");
    expect(volume).toMatchObject({ name: "ops-data", size: 20, location: "fsn1" });
    expect(volume).not.toHaveProperty("format");
    expect(only(tf, "hcloud_volume_attachment").automount).toBe(false);
    expect(only(tf, "hcloud_server").backups).toBe(false);
    expect(volume.lifecycle).toMatchObject({
      precondition: [
        { error_message: expect.stringContaining("larger than dataGiB, 20, and a volume cannot shrink") },
        { error_message: expect.stringContaining("another location than fsn1") },
      ],
    });
    expect(String(only(tf, "hcloud_server").user_data)).toMatch(
      /What=\/dev\/disk\/by-id\/scsi-0HC_Volume_\$\{hcloud_volume\.[a-zA-Z0-9_]+\.id\}/,
    );
  });

  it("is replaced with the one-time key, and with nothing else of the spec", () => {
    const server = only(terraform(), "hcloud_server");
    expect(server.lifecycle).toEqual({
      replace_triggered_by: [expect.stringMatching(/^terraform_data\.ops_bootstrap/)],
    });
    expect(JSON.stringify(server)).not.toContain("ignore_changes");
  });

  it("takes no network away at each apply, and waits for the subnet it joins", () => {
    const network = { range: "10.0.0.0/16", subnet: "10.0.1.0/24", zone: "eu-central", ip: "10.0.1.5" };
    const tf = terraform({ privateNetwork: network });
    const [subnet] = Object.keys(tf.resource.hcloud_network_subnet ?? {});
    expect(only(tf, "hcloud_server")).toMatchObject({
      network: [{ alias_ips: [], ip: "10.0.1.5", subnet_id: `\${hcloud_network_subnet.${subnet}.id}` }],
      depends_on: [`hcloud_network_subnet.${subnet}`],
    });
    expect(JSON.stringify(only(tf, "hcloud_server").network)).not.toContain("network_id");
  });

  it("is reached at its IPv4 address, else its IPv6, else the private one", () => {
    const address = (props: Partial<HetznerMachineProps>) => {
      const { value } = terraform(props).output.bailiwick_ops as { value: { machine: { address: string } } };
      return value.machine.address.replace(/box_server_[A-F0-9]+/, "S");
    };
    expect(address({})).toBe(`\${hcloud_server.S.ipv4_address}`);
    expect(address({ ipv4: false })).toBe(`\${hcloud_server.S.ipv6_address}`);
    const privateNetwork = { subnetId: "7-10.0.1.0/24" };
    expect(address({ ipv4: false, ipv6: false, privateNetwork })).toBe(`\${tolist(hcloud_server.S.network).0.ip}`);
  });

  it("takes a volume, a placement group, firewalls and a provider of the team's own", () => {
    const app = anApp();
    const stack = new TerraformStack(app, "s");
    new HcloudProvider(stack, "team", { endpoint: "https://example.com/v1" });
    const group = new TerraformVariable(stack, "group", { type: "string" }).stringValue;
    const props = { ...SMALL, volumeId: "42", placementGroupId: group, firewallIds: ["7"], labels: { team: "ops" } };
    new AgentHost(stack, "ops", { machine: new HetznerMachine(stack, "box", props), access });
    const tf = JSON.parse(synthesise(app, "s").terraform) as Terraform;
    expect(tf.resource).not.toHaveProperty("hcloud_volume");
    expect(tf.provider.hcloud).toEqual([{ endpoint: "https://example.com/v1" }]);
    expect(only(tf, "hcloud_server")).toMatchObject({
      placement_group_id: `\${tonumber(var.group)}`,
      firewall_ids: [expect.stringContaining("hcloud_firewall."), 7],
      labels: { team: "ops", "bailiwick-host": "ops" },
    });
    expect(userData(tf)).toContain("What=/dev/disk/by-id/scsi-0HC_Volume_42\n");
  });

  it("gives its resources as the escape hatch, once a host is on it", () => {
    const stack = new TerraformStack(anApp(), "s");
    const machine = new HetznerMachine(stack, "box", SMALL);
    expect(() => machine.server).toThrow("put a host on the machine first");
    new AgentHost(stack, "ops", { machine, access });
    expect(Token.isUnresolved(machine.server.ipv4Address)).toBe(true);
    expect(Token.isUnresolved(machine.firewall.id)).toBe(true);
  });

  it("protects server and volume when asked, the server's two protections together", () => {
    const tf = terraform({ protect: true });
    expect(only(tf, "hcloud_server")).toMatchObject({ delete_protection: true, rebuild_protection: true });
    expect(only(tf, "hcloud_volume").delete_protection).toBe(true);
  });

  it.each<[string, Partial<Record<keyof HetznerMachineProps, unknown>>, string]>([
    ["a malformed server type", { serverType: "CX 33" }, 'serverType: received "CX 33"; must be a server type'],
    ["no server type", { serverType: undefined }, "serverType: received nothing"],
    ["an arm64 server type", { serverType: "cax11" }, "it is arm64"],
    ["a malformed location", { location: "Falkenstein" }, "must be a location as Hetzner writes it, such as fsn1"],
    ["nothing to reach it by", { ipv4: false, ipv6: false }, "nothing could reach the server"],
    ["a volume too small", { dataGiB: 9 }, "dataGiB: received 9"],
    ["a size of a volume that is not its own", { dataGiB: 20, volumeId: "7" }, "leave dataGiB out"],
    ["an unknown key", { servertype: "cx33" } as never, 'unknown key "servertype"'],
    ["a token where synth decides", { dataGiB: Token.asNumber("${" + "var.x}") }, "received a Terraform token"],
    ["an id that is none", { volumeId: "my-volume" }, "give an id as Hetzner shows it"],
    [
      "a range with host bits",
      { privateNetwork: { range: "10.0.0.1/16", subnet: "10.0.1.0/24", zone: "eu-central" } },
      "host bits are set",
    ],
    ["a label that Hetzner refuses", { labels: { team: "a b" } }, "must be a label's value"],
  ])("refuses %s", (_what, props, message) => {
    expect(() => host(anApp(), props as never)).toThrow(message);
  });

  it("fails no synth, but the plan, while the admin's key is missing", () => {
    const missing = Access.fromEnv({ key: "BAILIWICK_TEST_KEY", from: "BAILIWICK_TEST_CIDR" });
    expect(JSON.stringify(terraform({}, { access: missing }))).toContain("BAILIWICK_TEST_KEY is not set");
  });
});

describe("one host definition on a local machine and on Hetzner", () => {
  function both() {
    const define = (app: App, onHetzner: boolean) => {
      const stack = new TerraformStack(app, "s");
      const machine = onHetzner ? new HetznerMachine(stack, "box", SMALL) : new LocalMachine(stack, "box");
      const made = new AgentHost(stack, "ops", { machine, access });
      const agent = made.addAgent("main");
      const claude = made.addModel("claude", ModelProvider.anthropic({ apiKey: Secret.fromEnv("ANTHROPIC_API_KEY") }));
      claude.grantInvoke(agent, { models: ["claude-sonnet-4-6"] });
      made.addWorkspace("notes").grantReadWrite(agent);
      agent.allowEgress("api.example.com");
      return synthesise(app, "s");
    };
    return { local: define(anApp(), false), hetzner: define(anApp(), true) };
  }

  it("gives the same spec but for the machine and the digest of its baseline", () => {
    const { local, hetzner } = both();
    const [a, b] = [local.specs["ops.json"], hetzner.specs["ops.json"]];
    if (a === undefined || b === undefined) throw new Error("no spec");
    expect({ ...b, machine: a.machine, baseline: a.baseline }).toEqual(a);
    expect(b.machine).toEqual({ kind: "hetzner", serverType: "cx33", location: "fsn1", dataGiB: 10 });
  });

  it("gives the same baseline, byte for byte, but for the name of the data volume and the digest", () => {
    const { local, hetzner } = both();
    const server = only(JSON.parse(hetzner.terraform), "hcloud_server");
    expect(differingLines(local.terraform, String(server.user_data))).toMatchInlineSnapshot(`
      [
        "- digest=<sha256>",
        "+ digest=<sha256>",
        "- [ ! -e /dev/disk/by-id/bailiwick-data ] || { /usr/lib/bailiwick/data-volume; systemctl start var-lib-bailiwick.mount; }",
        "+ [ ! -e /dev/disk/by-id/scsi-0HC_Volume_<> ] || { /usr/lib/bailiwick/data-volume; systemctl start var-lib-bailiwick.mount; }",
        "- dev=/dev/disk/by-id/bailiwick-data",
        "+ dev=/dev/disk/by-id/scsi-0HC_Volume_<>",
        "- After=dev-disk-by\\x2did-bailiwick\\x2ddata.device",
        "+ After=dev-disk-by\\x2did-scsi\\x2d0HC_Volume_<>.device",
        "- What=/dev/disk/by-id/bailiwick-data",
        "+ What=/dev/disk/by-id/scsi-0HC_Volume_<>",
      ]
    `);
  });
});

describe("the user data of a Hetzner server", () => {
  it("is the same between two synths, and for every number of admins, agents and grants", () => {
    const plain = userData(terraform());
    expect(userData(terraform())).toBe(plain);
    const app = anApp();
    const many = host(app, {}, { access: Access.ssh({ admins: { ada: ADA, bob: BOB }, from: ["198.51.100.0/24"] }) });
    for (let i = 0; i < 20; i++) many.addAgent(`agent-${i}`, { uid: 21_000 + i }).allowEgress("example.com");
    expect(userData(JSON.parse(synthesise(app, "s").terraform))).toBe(plain);
    expect(Buffer.byteLength(plain)).toBeLessThanOrEqual(12_288);
  });

  it("holds no secret, and neither does anything else that synth writes", () => {
    process.env.BW_TEST_CANARY = "canary-7f3a-of-this-test";
    try {
      const app = anApp();
      const made = host(app);
      made
        .addModel("claude", ModelProvider.anthropic({ apiKey: Secret.fromEnv("BW_TEST_CANARY") }))
        .grantInvoke(made.addAgent("main"), { models: ["claude-sonnet-4-6"] });
      const { terraform: text, specs } = synthesise(app, "s");
      expect(text + JSON.stringify(specs)).not.toContain("canary-7f3a-of-this-test");
      expect(JSON.stringify(specs)).toContain("BW_TEST_CANARY");
    } finally {
      delete process.env.BW_TEST_CANARY;
    }
  });
});
