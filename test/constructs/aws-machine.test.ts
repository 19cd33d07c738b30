import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type App, TerraformStack, TerraformVariable, Token } from "cdktf";
import { describe, expect, it } from "vitest";
import {
  Access,
  AgentHost,
  AwsMachine,
  type AwsMachineProps,
  LocalMachine,
  ModelProvider,
  Runtime,
  Secret,
} from "../../constructs/index.ts";
import { architectureOf } from "../../runtime/spec/architecture.ts";
import { parseHostSpec } from "../../runtime/spec/host-spec.ts";
import { ADA, access, anApp, BOB, differingLines, synthesise } from "./synthesised.ts";

type Resources = Record<string, Record<string, Record<string, unknown>>>;

interface Synthesised {
  readonly resource: Resources;
  readonly data: Resources;
  readonly output: { readonly bailiwick_ops: { readonly value: { readonly machine: object } } };
  readonly terraform: { readonly required_providers: Record<string, object> };
}

const SMALL: AwsMachineProps = { instanceType: "t3.medium" };

function stackOf(props: Partial<AwsMachineProps> = {}, given: Access | ((stack: TerraformStack) => Access) = access) {
  const app = anApp();
  const stack = new TerraformStack(app, "s");
  const who = typeof given === "function" ? given(stack) : given;
  const host = new AgentHost(stack, "ops", {
    machine: new AwsMachine(stack, "box", { ...SMALL, ...props }),
    access: who,
  });
  const { terraform, specs } = synthesise(app, "s");
  return { host, tf: JSON.parse(terraform) as Synthesised, spec: specs["ops.json"], text: terraform };
}

function all(tf: Synthesised, type: string): Record<string, unknown>[] {
  return Object.values(tf.resource[type] ?? {}).map(({ "//": _, provider, tags, ...rest }) => rest);
}

function only(tf: Synthesised, type: string): Record<string, unknown> {
  const found = all(tf, type);
  expect(found).toHaveLength(1);
  return found[0] ?? {};
}

const userData = (tf: Synthesised) => String(only(tf, "aws_instance").user_data).replaceAll(/\$\{[^}]*\}/g, "<>");

describe("a machine on AWS", () => {
  it("admits SSH from the host's networks, and nothing else, to the instance", () => {
    const { tf } = stackOf();
    expect(all(tf, "aws_vpc_security_group_ingress_rule")).toMatchObject([
      { ip_protocol: "tcp", from_port: 22, to_port: 22, cidr_ipv4: "203.0.113.7/32" },
    ]);
    const [group] = Object.keys(tf.resource.aws_security_group ?? {});
    expect(only(tf, "aws_instance").vpc_security_group_ids).toEqual([`\${aws_security_group.${group}.id}`]);
    expect(only(tf, "aws_security_group")).not.toHaveProperty("ingress");
    expect(only(tf, "aws_default_security_group")).toEqual({ vpc_id: expect.stringContaining("aws_vpc.") });
  });

  it("takes nothing from outside with an Instance Connect Endpoint: SSH from its group alone, which lets out nothing else", () => {
    const { tf, spec } = stackOf({ inbound: "instance-connect" });
    const id = (name: string) =>
      `\${aws_security_group.${Object.keys(tf.resource.aws_security_group ?? {}).find((one) => one.includes(name))}.id}`;
    const ingress = all(tf, "aws_vpc_security_group_ingress_rule");
    expect(ingress).toMatchObject([
      {
        security_group_id: id("box_group"),
        referenced_security_group_id: id("endpoint-group"),
        from_port: 22,
        to_port: 22,
      },
    ]);
    expect(JSON.stringify(ingress)).not.toContain("cidr");
    const out = all(tf, "aws_vpc_security_group_egress_rule").filter(
      (one) => one.security_group_id === id("endpoint-group"),
    );
    expect(out).toMatchObject([{ referenced_security_group_id: id("box_group"), from_port: 22, to_port: 22 }]);
    expect(only(tf, "aws_ec2_instance_connect_endpoint")).toMatchObject({
      security_group_ids: [id("endpoint-group")],
      preserve_client_ip: false,
    });
    expect(tf.output.bailiwick_ops.value.machine).toMatchObject({ kind: "instance-connect" });
    expect(spec?.access.from).toEqual(["10.77.0.0/24"]);
  });

  it("has a metadata service for tokens only, one hop far, no role, and encrypted gp3 disks", () => {
    const { tf } = stackOf();
    const instance = only(tf, "aws_instance");
    expect(instance.metadata_options).toMatchObject({
      http_tokens: "required",
      http_put_response_hop_limit: 1,
      instance_metadata_tags: "disabled",
    });
    for (const absent of ["iam_instance_profile", "key_name", "user_data_base64"])
      expect(instance).not.toHaveProperty(absent);
    expect(instance.root_block_device).toMatchObject({ volume_type: "gp3", encrypted: true });
    expect(only(tf, "aws_ebs_volume")).toMatchObject({ type: "gp3", encrypted: true, size: 10 });
    expect(JSON.stringify(tf.resource)).not.toMatch(/aws_iam|aws_key_pair|aws_nat_gateway|aws_eip/);
  });

  it("encrypts with the team's own key where one is given", () => {
    const { tf } = stackOf({ kmsKeyArn: "arn:aws:kms:eu-central-1:123456789012:key/1" });
    const key = { encrypted: true, kms_key_id: "arn:aws:kms:eu-central-1:123456789012:key/1" };
    expect(only(tf, "aws_ebs_volume")).toMatchObject(key);
    expect(only(tf, "aws_instance").root_block_device).toMatchObject(key);
  });

  it("is neither terminated nor loses its data volume to a plan, where it is protected", () => {
    const { tf } = stackOf({ protect: true });
    expect(only(tf, "aws_instance").disable_api_termination).toBe(true);
    expect(only(tf, "aws_ebs_volume").lifecycle).toEqual({ prevent_destroy: true });
    expect(only(stackOf().tf, "aws_instance").disable_api_termination).toBe(false);
    expect(only(stackOf().tf, "aws_ebs_volume")).not.toHaveProperty("lifecycle");
  });

  it("is Debian's own image, of which a newer one alone replaces nothing; the one-time key does", () => {
    const { tf } = stackOf();
    expect(Object.values(tf.data.aws_ami ?? {})[0]).toMatchObject({
      owners: ["136693071363"],
      filter: expect.arrayContaining([{ name: "name", values: ["debian-13-amd64-*"] }]),
    });
    expect(only(tf, "aws_instance")).toMatchObject({
      user_data_replace_on_change: true,
      lifecycle: {
        ignore_changes: ["ami"],
        replace_triggered_by: [expect.stringMatching(/^terraform_data\.ops_bootstrap/)],
      },
    });
  });

  it("stops the instance before its volume is taken off, and knows the volume by its id", () => {
    const { tf } = stackOf();
    expect(only(tf, "aws_volume_attachment").stop_instance_before_detaching).toBe(true);
    expect(String(only(tf, "aws_instance").user_data)).toMatch(
      /What=\/dev\/disk\/by-id\/nvme-Amazon_Elastic_Block_Store_\$\{replace\(aws_ebs_volume\.[A-Za-z0-9_]+\.id, "-", ""\)\}/,
    );
  });

  it("makes the least network that leads to the internet, whose one route it waits for", () => {
    const { tf } = stackOf();
    expect(only(tf, "aws_route_table")).not.toHaveProperty("route");
    expect(only(tf, "aws_route")).toMatchObject({ destination_cidr_block: "0.0.0.0/0" });
    expect(only(tf, "aws_instance").depends_on).toEqual(
      ["aws_route_table_association", "aws_route"].map((type) => expect.stringMatching(`^${type}\\.`)),
    );
  });

  it("stands in the team's subnet when given one, and makes no network then", () => {
    const { tf } = stackOf({ network: { vpcId: "vpc-1", subnetId: "subnet-2" }, publicIp: false });
    expect(Object.keys(tf.resource).filter((type) => /vpc$|subnet|gateway|route/.test(type))).toEqual([]);
    expect(only(tf, "aws_instance")).toMatchObject({ subnet_id: "subnet-2", associate_public_ip_address: false });
    expect(only(tf, "aws_security_group").vpc_id).toBe("vpc-1");
    expect(only(tf, "aws_ebs_volume").availability_zone).toContain("data.aws_subnet.");
    expect(tf.output.bailiwick_ops.value.machine).toMatchObject({
      kind: "remote",
      address: expect.stringContaining("private_ip"),
    });
  });

  it("snapshots its volume on a schedule, by a role of the team's", () => {
    const snapshots = { roleArn: "arn:aws:iam::123456789012:role/dlm", everyHours: 12, keep: 7 };
    expect(only(stackOf({ snapshots }).tf, "aws_dlm_lifecycle_policy")).toMatchObject({
      execution_role_arn: snapshots.roleArn,
      policy_details: {
        target_tags: { "bailiwick-host": "ops" },
        schedule: { create_rule: { interval: 12, interval_unit: "HOURS" }, retain_rule: { count: 7 } },
      },
    });
    expect(stackOf().tf.resource).not.toHaveProperty("aws_dlm_lifecycle_policy");
  });

  it("puts a network that is known at apply into the rule of its family, unless it is the whole internet", () => {
    const { tf } = stackOf({}, (stack) => {
      const office = new TerraformVariable(stack, "office", { type: "string" });
      return Access.ssh({ admins: { ada: ADA }, from: [office.stringValue] });
    });
    expect(only(tf, "aws_vpc_security_group_ingress_rule")).toMatchObject({
      cidr_ipv4: `\${strcontains(var.office, ":") ? null : var.office}`,
      cidr_ipv6: `\${strcontains(var.office, ":") ? var.office : null}`,
      lifecycle: { precondition: [{ condition: expect.stringContaining('endswith(var.office, "/0")') }] },
    });
  });

  it.each<[string, AwsMachineProps["image"], string]>([
    ["t4g.medium", "debian-13", "debian-13-arm64-*"],
    ["c6gd.large", "debian-13", "debian-13-arm64-*"],
    ["im4gn.large", "debian-13", "debian-13-arm64-*"],
    ["m7g.large", "ubuntu-24.04", "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-arm64-server-*"],
  ])("boots %s from an image of arm64 (%s), and what is put on it is built for that", (instanceType, image, name) => {
    const { tf, spec } = stackOf({ instanceType, ...(image === undefined ? {} : { image }) });
    expect(Object.values(tf.data.aws_ami ?? {})[0]).toMatchObject({
      filter: expect.arrayContaining([
        { name: "name", values: [name] },
        { name: "architecture", values: ["arm64"] },
      ]),
    });
    expect(architectureOf(parseHostSpec(spec))).toBe("arm64");
  });

  it.each(["t3.medium", "m7i.large", "g4dn.xlarge", "c7a.large", "i4i.large"])(
    "boots %s from an image of x86-64, as what is put on it is built for",
    (instanceType) => {
      const { tf, spec } = stackOf({ instanceType });
      expect(Object.values(tf.data.aws_ami ?? {})[0]).toMatchObject({
        filter: expect.arrayContaining([{ name: "architecture", values: ["x86_64"] }]),
      });
      expect(architectureOf(parseHostSpec(spec))).toBe("x64");
    },
  );

  it("refuses at synth a program of a team's that is built for another architecture than the machine's", () => {
    const source = mkdtempSync(join(tmpdir(), "bailiwick-program-"));
    const synth = (instanceType: string, program: string) => {
      const app = anApp();
      const stack = new TerraformStack(app, "s");
      const host = new AgentHost(stack, "ops", { machine: new AwsMachine(stack, "box", { instanceType }), access });
      host.addAgent("own", { runtime: Runtime.command({ source, argv: [`./${program}`] }) });
      return () => synthesise(app, "s");
    };
    try {
      const elf = (machine: number) =>
        Buffer.concat([Buffer.from("\x7fELF"), Buffer.alloc(14), Buffer.from([machine, 0])]);
      writeFileSync(join(source, "intel"), elf(62));
      writeFileSync(join(source, "arm"), elf(183));
      writeFileSync(join(source, "script"), "#!/bin/sh\n");
      expect(synth("t4g.medium", "intel")).toThrow(
        'AgentHost "ops": agents.own.runtime.argv[0]: "./intel" is built for x64, and the machine is arm64',
      );
      expect(synth("t3.medium", "arm")).toThrow('"./arm" is built for arm64, and the machine is x64');
      for (const [type, program] of [
        ["t4g.medium", "arm"],
        ["t3.medium", "intel"],
        ["t4g.medium", "script"],
      ] as const)
        expect(synth(type, program), program).not.toThrow();
    } finally {
      rmSync(source, { recursive: true });
    }
  });

  it("pins the provider it is written for", () => {
    expect(stackOf().tf.terraform.required_providers.aws).toEqual({ source: "hashicorp/aws", version: "~> 6.0" });
  });

  it.each<[string, Partial<Record<keyof AwsMachineProps, unknown>>, string]>([
    ["a malformed type", { instanceType: "medium" }, "must be an instance type as AWS writes it"],
    ["a type without NVMe", { instanceType: "t2.micro" }, "choose a type of the Nitro system"],
    ["an unknown way in", { inbound: "ssm" }, "inbound: received"],
    ["a subnet that is none", { network: { vpcId: "vpc-1", subnetId: "vpc-2" } }, "starts with subnet-"],
    ["a key that is none", { kmsKeyArn: "alias/mine" }, "must be an ARN"],
    ["a network with host bits", { vpcCidr: "10.77.0.1/24" }, "host bits are set"],
    [
      "an interval that AWS has not",
      { snapshots: { roleArn: "arn:aws:iam::1:role/x", everyHours: 5, keep: 1 } },
      "everyHours",
    ],
    ["an unknown key", { instance: "t3.small" } as never, 'unknown key "instance"'],
  ])("refuses %s", (_what, props, message) => {
    expect(() => stackOf(props as never)).toThrow(message);
  });
});

describe("one host definition on a local machine and on AWS", () => {
  const define = (app: App, onAws: boolean) => {
    const stack = new TerraformStack(app, "s");
    const machine = onAws ? new AwsMachine(stack, "box", SMALL) : new LocalMachine(stack, "box");
    const host = new AgentHost(stack, "ops", { machine, access });
    host
      .addModel("claude", ModelProvider.anthropic({ apiKey: Secret.fromEnv("BW_AWS_CANARY") }))
      .grantInvoke(host.addAgent("main"), { models: ["claude-sonnet-4-6"] });
    return synthesise(app, "s");
  };

  it("gives the same spec but for the machine and the digest of its baseline", () => {
    const [a, b] = [define(anApp(), false).specs["ops.json"], define(anApp(), true).specs["ops.json"]];
    if (a === undefined || b === undefined) throw new Error("no spec");
    expect({ ...b, machine: a.machine, baseline: a.baseline }).toEqual(a);
    expect(b.machine).toEqual({ kind: "aws", instanceType: "t3.medium", inbound: "cidr", dataGiB: 10 });
  });

  it("gives the same baseline, byte for byte, but for the name of the data volume and the digest", () => {
    const server = only(JSON.parse(define(anApp(), true).terraform), "aws_instance");
    expect(differingLines(define(anApp(), false).terraform, String(server.user_data))).toMatchInlineSnapshot(`
      [
        "- digest=<sha256>",
        "+ digest=<sha256>",
        "- [ ! -e /dev/disk/by-id/bailiwick-data ] || { /usr/lib/bailiwick/data-volume; systemctl start var-lib-bailiwick.mount; }",
        "+ [ ! -e /dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_<> ] || { /usr/lib/bailiwick/data-volume; systemctl start var-lib-bailiwick.mount; }",
        "- dev=/dev/disk/by-id/bailiwick-data",
        "+ dev=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_<>",
        "- After=dev-disk-by\\x2did-bailiwick\\x2ddata.device",
        "+ After=dev-disk-by\\x2did-nvme\\x2dAmazon_Elastic_Block_Store_<>.device",
        "- What=/dev/disk/by-id/bailiwick-data",
        "+ What=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_<>",
      ]
    `);
  });

  it("is the same instance for every number of admins, networks, agents and grants", () => {
    const instance = (given: Access, agents: number) => {
      const app = anApp();
      const stack = new TerraformStack(app, "s");
      const host = new AgentHost(stack, "ops", { machine: new AwsMachine(stack, "box", SMALL), access: given });
      for (let i = 0; i < agents; i++) host.addAgent(`agent-${i}`, { uid: 21_000 + i }).allowEgress("example.com");
      return only(JSON.parse(synthesise(app, "s").terraform), "aws_instance");
    };
    const from = ["198.51.100.0/24", "203.0.113.9/32"];
    const plain = instance(Access.ssh({ admins: { ada: ADA }, from: ["203.0.113.7/32"] }), 1);
    expect(instance(Access.ssh({ admins: { ada: ADA, bob: BOB }, from }), 20)).toEqual(plain);
    expect(instance(Access.ssh({ admins: { ada: BOB }, from }), 1)).not.toEqual(plain);
  });

  it("has user data within the limit, the same between two synths, and no secret anywhere", () => {
    process.env.BW_AWS_CANARY = "canary-aws-2f61";
    try {
      const text = define(anApp(), true).terraform;
      const plain = userData(JSON.parse(text));
      expect(plain).toBe(userData(JSON.parse(define(anApp(), true).terraform)));
      expect(Buffer.byteLength(plain)).toBeLessThanOrEqual(12_288);
      expect(text).not.toContain("canary-aws-2f61");
    } finally {
      delete process.env.BW_AWS_CANARY;
    }
  });

  it("gives its resources as the escape hatch, once a host is on it", () => {
    const stack = new TerraformStack(anApp(), "s");
    const machine = new AwsMachine(stack, "box", SMALL);
    expect(() => machine.instance).toThrow("put a host on the machine first");
    new AgentHost(stack, "ops", { machine, access });
    expect(Token.isUnresolved(machine.instance.attribute("public_ip"))).toBe(true);
    expect(Token.isUnresolved(machine.securityGroup.id)).toBe(true);
  });
});
