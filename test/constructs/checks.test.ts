import { S3Backend, TerraformResource, TerraformStack } from "cdktf";
import { describe, expect, it } from "vitest";
import {
  Access,
  AgentHost,
  AwsMachine,
  ExistingMachine,
  HetznerMachine,
  hcloud,
  LocalMachine,
  type Machine,
} from "../../constructs/index.ts";
import { ADA, access, anApp, BOB } from "./synthesised.ts";

// What a team's own code, or an override of ours, can make of a stack after all constructs have been content with it.

const HOST_KEY = BOB.split(" ").slice(0, 2).join(" ");

function on<M extends Machine>(make: (stack: TerraformStack) => M, given = access, app = anApp(), name = "ops") {
  const stack = new TerraformStack(app, name);
  const machine = make(stack);
  new AgentHost(stack, name, { machine, access: given });
  return { app, stack, machine };
}
const hetzner = (stack: TerraformStack) => new HetznerMachine(stack, "box", { serverType: "cx33", location: "fsn1" });
const aws = (stack: TerraformStack) => new AwsMachine(stack, "box", { instanceType: "t3.medium" });
const existing = (stack: TerraformStack) =>
  new ExistingMachine(stack, "box", { address: "203.0.113.40", user: "root", hostKey: HOST_KEY, dataDevice: "data" });
/** The resources of a type in the stack: what an override is made on. */
const all = (stack: TerraformStack, type: string) =>
  stack.node
    .findAll()
    .filter((one): one is TerraformResource => TerraformResource.isTerraformResource(one))
    .filter((one) => one.terraformResourceType === type);
const override = (stack: TerraformStack, type: string, path: string, value: unknown) => {
  const found = all(stack, type);
  expect(found.length).toBeGreaterThan(0);
  for (const one of found) one.addOverride(path, value);
};

class Plain extends TerraformResource {
  readonly given: Record<string, unknown>;
  constructor(stack: TerraformStack, id: string, type: string, given: Record<string, unknown>) {
    super(stack, id, { terraformResourceType: type });
    this.given = given;
  }
  protected override synthesizeAttributes() {
    return this.given;
  }
}

describe("synth refuses a stack in which", () => {
  it("nothing is wrong: not", () => {
    for (const make of [hetzner, aws, existing, (stack: TerraformStack) => new LocalMachine(stack, "box")])
      expect(() => on<Machine>(make).app.synth()).not.toThrow();
  });

  it.each<[string, string, unknown, string]>([
    [
      "a Hetzner firewall is opened",
      "hcloud_firewall:rule.0.source_ips",
      ["203.0.113.7/32", "::/0"],
      "it lets the whole internet in to a host",
    ],
    [
      "a server's user data is ignored",
      "hcloud_server:lifecycle.ignore_changes",
      ["user_data"],
      "take user_data out of it",
    ],
    [
      "all changes of an instance are ignored",
      "aws_instance:lifecycle.ignore_changes",
      "all",
      "would keep an old baseline",
    ],
    [
      "metadata answer without a session",
      "aws_instance:metadata_options.http_tokens",
      "optional",
      'leave it "required"',
    ],
    [
      "metadata answer further away",
      "aws_instance:metadata_options.http_put_response_hop_limit",
      2,
      "hop_limit is 2; leave it 1",
    ],
    [
      "an instance has a role",
      "aws_instance:iam_instance_profile",
      "admin",
      "iam_instance_profile gives the host credentials",
    ],
    ["the data volume is not encrypted", "aws_ebs_volume:encrypted", false, "encrypted is not true, and agents' data"],
    [
      "the root disk is not encrypted",
      "aws_instance:root_block_device.encrypted",
      false,
      "root_block_device.encrypted is not true",
    ],
    [
      "an AWS security group is opened",
      "aws_vpc_security_group_ingress_rule:cidr_ipv4",
      "0.0.0.0/0",
      "it lets the whole internet in to a host",
    ],
  ])("%s", (_, where, value, problem) => {
    const [type = "", path = ""] = where.split(":");
    const { app, stack } = on<Machine>(type.startsWith("aws") ? aws : hetzner);
    override(stack, type, path, value);
    expect(() => app.synth()).toThrow(problem);
  });

  it.each([[[]], [[4711]]])("a Hetzner server has other firewalls instead of its own: %o", (ids) => {
    const { app, machine } = on(hetzner);
    machine.server.firewallIds = ids;
    expect(() => app.synth()).toThrow("give more by the machine's firewallIds");
  });

  it("a firewall of the team's own on the server is open, unless the access says so in words", () => {
    const make = (given: Access) => {
      const app = anApp();
      const stack = new TerraformStack(app, "ops");
      const provider = new hcloud.provider.HcloudProvider(stack, "hcloud");
      const rule = [{ direction: "in", protocol: "tcp", port: "443", sourceIps: ["0.0.0.0/0"] }];
      const wall = new hcloud.firewall.Firewall(stack, "web", { provider, name: "web", rule });
      const props = { serverType: "cx33", location: "fsn1", firewallIds: [wall.id] };
      new AgentHost(stack, "ops", { machine: new HetznerMachine(stack, "box", props), access: given });
      return app;
    };
    expect(() => make(access).synth()).toThrow("ops/web: it lets the whole internet in to a host");
    const anywhere = Access.ssh({ admins: { ada: ADA }, from: [Access.anywhere()] });
    expect(() => make(anywhere).synth()).not.toThrow();
  });

  it("not one that has an open firewall for something else", () => {
    const { app, stack } = on(hetzner);
    const rule = [{ direction: "in", protocol: "tcp", port: "443", source_ips: ["0.0.0.0/0"] }];
    new Plain(stack, "web", "hcloud_firewall", { name: "web", rule });
    expect(() => app.synth()).not.toThrow();
  });

  it("state in S3 is shared without a lock, or stored in the clear", () => {
    const state = (given: object, change: (backend: S3Backend) => void = () => {}) => {
      const { app, stack } = on(existing);
      change(new S3Backend(stack, { bucket: "state", key: "ops", region: "eu-central-1", ...given }));
      return app;
    };
    expect(() => state({}).synth()).toThrow('add backend.addOverride("use_lockfile", true)');
    const locked = (backend: S3Backend) => backend.addOverride("use_lockfile", true);
    expect(() => state({ encrypt: false }, locked).synth()).toThrow("encrypt: false; leave it out");
    expect(() => state({}, locked).synth()).not.toThrow();
    expect(() => state({ dynamodbTable: "locks" }).synth()).not.toThrow();
  });

  it("two hosts are on one existing machine, by its key or its address, in another stack too", () => {
    const { app } = on(existing);
    const other = (stack: TerraformStack) =>
      new ExistingMachine(stack, "box", {
        address: "203.0.113.41",
        user: "root",
        hostKey: HOST_KEY,
        dataDevice: "data",
      });
    on(other, access, app, "more");
    expect(() => app.synth()).toThrow('host "more" is on the machine of host "ops" (ops/box)');
  });

  it("SSH to a machine elsewhere is from loopback alone", () => {
    const here = Access.ssh({ admins: { ada: ADA }, from: ["127.0.0.1/32"] });
    expect(() => on(hetzner, here).app.synth()).toThrow("this one is of kind hetzner; give Access.ssh");
    expect(() => on((stack) => new LocalMachine(stack, "box"), here).app.synth()).not.toThrow();
  });
});
