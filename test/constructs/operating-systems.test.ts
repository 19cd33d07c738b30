import { TerraformStack } from "cdktf";
import { describe, expect, it } from "vitest";
import { renderBaseline } from "../../cloud-init/baseline.ts";
import { AgentHost, AwsMachine, ExistingMachine, HetznerMachine, type Machine } from "../../constructs/index.ts";
import type { OperatingSystem } from "../../runtime/spec/operating-system.ts";
import { INPUT } from "../cloud-init/host-files.ts";
import { ADA, access, anApp, BOB, synthesise } from "./synthesised.ts";

type Bind = (stack: TerraformStack, os: OperatingSystem) => Machine;
const existing: Bind = (stack, os) =>
  new ExistingMachine(stack, "box", {
    ...{ address: "203.0.113.40", user: "root", dataDevice: "sdb", os },
    hostKey: BOB.split(" ").slice(0, 2).join(" "),
  });
const MACHINES: readonly [string, Bind, OperatingSystem][] = [
  [
    "Hetzner",
    (stack, os) => new HetznerMachine(stack, "box", { serverType: "cx33", location: "fsn1", image: os as "debian-13" }),
    "ubuntu-24.04",
  ],
  [
    "AWS",
    (stack, os) => new AwsMachine(stack, "box", { instanceType: "t3.medium", image: os as "debian-13" }),
    "ubuntu-24.04",
  ],
  ["an existing machine with Debian 12", existing, "debian-12"],
  ["an existing machine with Ubuntu", existing, "ubuntu-24.04"],
];

function synthesised(bind: Bind, os: OperatingSystem) {
  const app = anApp();
  const stack = new TerraformStack(app, "s");
  const host = new AgentHost(stack, "ops", { machine: bind(stack, os), access });
  host.addAgent("main").allowEgress("api.example.com");
  const { terraform, specs } = synthesise(app, "s");
  const spec = specs["ops.json"];
  if (spec === undefined) throw new Error("no spec");
  return { terraform, spec };
}

describe.each(MACHINES)("the system of a host on %s", (_name, bind, other) => {
  it("is all that differs in its spec, with the digest of its baseline", () => {
    const debian = synthesised(bind, "debian-13").spec;
    const another = synthesised(bind, other).spec;
    expect(another.os).toBe(other);
    expect(another.baseline).not.toBe(debian.baseline);
    expect({ ...another, os: debian.os, baseline: debian.baseline }).toEqual(debian);
  });

  it("makes another machine when it changes", () => {
    const generation = (os: OperatingSystem) => {
      const all = JSON.parse(synthesised(bind, os).terraform).resource.terraform_data as Record<
        string,
        { triggers_replace?: unknown }
      >;
      return JSON.stringify(Object.entries(all).find(([name]) => name.startsWith("ops_generation"))?.[1]);
    };
    expect(generation(other)).not.toBe(generation("debian-13"));
    expect(generation(other)).toBe(generation(other));
  });
});

describe("an image", () => {
  it("is Hetzner's own by its name, and Debian's or Ubuntu's own on AWS by its publisher", () => {
    const [hetzner, aws] = MACHINES.slice(0, 2).map(([, bind]) =>
      JSON.parse(synthesised(bind, "ubuntu-24.04").terraform),
    );
    expect(Object.values<{ image: string }>(hetzner.resource.hcloud_server)[0]?.image).toBe("ubuntu-24.04");
    expect(Object.values(aws.data.aws_ami)[0]).toMatchObject({
      owners: ["099720109477"],
      filter: expect.arrayContaining([
        { name: "name", values: ["ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"] },
      ]),
    });
  });

  it.each(MACHINES)("of another name is refused on %s", (_name, bind) => {
    expect(() => bind(new TerraformStack(anApp(), "s"), "fedora-43" as "debian-13")).toThrow(/received "fedora-43"/);
  });
});

describe("the baseline of a system", () => {
  const filesOf = (os: OperatingSystem) =>
    new Map(
      renderBaseline({ ...INPUT, os, admin: { ...INPUT.admin, publicKey: ADA } }).files.map(
        ({ path, content }) => [path, content] as const,
      ),
    );
  /** Lines that only one of the two has, file by file; the apply script carries the others. */
  const difference = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>) =>
    [...new Set([...a.keys(), ...b.keys()])].flatMap((path) => {
      const [was, is] = [a.get(path), b.get(path)].map((text) => text?.split(/\n@/)[0]?.split("\n"));
      if (was === undefined) return [`${path}: added`];
      if (is === undefined) return [`${path}: left out`];
      const less = was.filter((line) => !is.includes(line)).map((line) => `${path}: - ${line}`);
      return [...less, ...is.filter((line) => !was.includes(line)).map((line) => `${path}: + ${line}`)];
    });
  const shown = (os: OperatingSystem) =>
    difference(filesOf("debian-13"), filesOf(os))
      .filter((line) => !line.startsWith("/usr/lib/bailiwick/firewall: "))
      .map((line) => line.replace(/[0-9a-f]{64}/, "<sha256>"));

  it("differs from that of Debian 13 in what it must, and in how the holder of the firewall works: Ubuntu 24.04", () => {
    expect(shown("ubuntu-24.04")).toMatchInlineSnapshot(`
      [
        "/usr/lib/bailiwick/apply: - digest=<sha256>",
        "/usr/lib/bailiwick/apply: + digest=<sha256>",
        "/etc/ssh/sshd_config.d/10-bailiwick.conf: - KexAlgorithms mlkem768x25519-sha256,sntrup761x25519-sha512@openssh.com,curve25519-sha256",
        "/etc/ssh/sshd_config.d/10-bailiwick.conf: + KexAlgorithms sntrup761x25519-sha512@openssh.com,curve25519-sha256",
        "/usr/lib/bailiwick/first-table: left out",
        "/usr/lib/bailiwick/base.nft: - add table inet bailiwick_base { flags owner,persist; }",
        "/usr/lib/bailiwick/base.nft: - flags owner,persist",
        "/usr/lib/bailiwick/base.nft: + add table inet bailiwick_base",
        "/usr/lib/bailiwick/closed.nft: - add table inet bailiwick { flags owner,persist; }",
        "/usr/lib/bailiwick/closed.nft: - flags owner,persist",
        "/usr/lib/bailiwick/closed.nft: + add table inet bailiwick",
        "/etc/apt/apt.conf.d/60bailiwick: - Origins-Pattern { "origin=Debian,codename=trixie-security,label=Debian-Security"; };",
        "/etc/apt/apt.conf.d/60bailiwick: + Origins-Pattern { "origin=Ubuntu,archive=noble-security,label=Ubuntu"; };",
      ]
    `);
  });

  it("differs in less on Debian 12", () => {
    expect(shown("debian-12")).toMatchInlineSnapshot(`
      [
        "/usr/lib/bailiwick/apply: - digest=<sha256>",
        "/usr/lib/bailiwick/apply: + digest=<sha256>",
        "/etc/ssh/sshd_config.d/10-bailiwick.conf: - KexAlgorithms mlkem768x25519-sha256,sntrup761x25519-sha512@openssh.com,curve25519-sha256",
        "/etc/ssh/sshd_config.d/10-bailiwick.conf: + KexAlgorithms sntrup761x25519-sha512@openssh.com,curve25519-sha256",
        "/usr/lib/bailiwick/base.nft: - add table inet bailiwick_base { flags owner,persist; }",
        "/usr/lib/bailiwick/base.nft: - flags owner,persist",
        "/usr/lib/bailiwick/base.nft: + add table inet bailiwick_base",
        "/usr/lib/bailiwick/closed.nft: - add table inet bailiwick { flags owner,persist; }",
        "/usr/lib/bailiwick/closed.nft: - flags owner,persist",
        "/usr/lib/bailiwick/closed.nft: + add table inet bailiwick",
        "/etc/apt/apt.conf.d/60bailiwick: - Origins-Pattern { "origin=Debian,codename=trixie-security,label=Debian-Security"; };",
        "/etc/apt/apt.conf.d/60bailiwick: + Origins-Pattern { "origin=Debian,codename=bookworm-security,label=Debian-Security"; };",
      ]
    `);
  });
});
