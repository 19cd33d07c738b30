import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Fn } from "cdktf";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Access, type AdminProps, Setting } from "../../constructs/index.ts";
import { ADA, aHost, BOB, temporaryFolder } from "./synthesised.ts";

const FROM = ["203.0.113.7/32"];

describe("access", () => {
  beforeEach(() => {
    vi.stubEnv("BAILIWICK_ADMIN_KEY", "");
    vi.stubEnv("XDG_CONFIG_HOME", temporaryFolder());
  });

  afterEach(() => vi.unstubAllEnvs());

  it("gives admins uids from 1000 on, in order, around those that are set; the first one is made by first boot", () => {
    const given = Access.ssh({
      admins: { ada: ADA, bob: { key: BOB, uid: 1001 }, eve: ADA, joe: { key: BOB } },
      from: ["203.0.113.7/32", "2001:db8::/48"],
    });
    expect(aHost("ops", { access: given }).toSpec().access).toEqual({
      bootstrapAdmin: "ada",
      admins: {
        ada: { uid: 1000, publicKey: ADA },
        bob: { uid: 1001, publicKey: BOB },
        eve: { uid: 1002, publicKey: ADA },
        joe: { uid: 1003, publicKey: BOB },
      },
      from: ["203.0.113.7/32", "2001:db8::/48"],
    });
  });

  it("is open to the internet only in words", () => {
    const open = Access.ssh({ admins: { ada: ADA }, from: [Access.anywhere()] });
    expect(aHost("ops", { access: open }).toSpec().access.from).toEqual(["0.0.0.0/0", "::/0"]);
  });

  it("leaves tokens for later admins and networks to the bindings", () => {
    const key = Fn.trimspace("key");
    const { access } = aHost("ops", {
      access: Access.ssh({ admins: { ada: ADA, bob: key }, from: [Fn.join("/", ["a", "32"])] }),
    }).toSpec();
    expect(access.admins.bob?.publicKey).toEqual({ $binding: "access.admins.bob.publicKey" });
    expect(access.from).toEqual([{ $binding: "access.from[0]" }]);
  });

  it.each<[string, () => unknown, string]>([
    ["no admin", () => Access.ssh({ admins: {}, from: FROM }), "name at least one admin"],
    ["no network", () => Access.ssh({ admins: { ada: ADA }, from: [] }), "Access.ssh from: received []"],
    ["an unknown key", () => Access.ssh({ admins: { ada: ADA }, from: FROM, form: [] } as never), 'unknown key "form"'],
    ["an unknown key of an admin", () => admin({ key: ADA, sudo: false } as never), 'admins.ada: unknown key "sudo"'],
    ["a bad network", () => from("203.0.113.7"), 'Access.ssh from[0]: received "203.0.113.7"; write an address and'],
    ["host bits", () => from("203.0.113.7/24"), "host bits are set"],
    ["a name for a network", () => from("example.com/32"), "is no IP address"],
    ["the whole of IPv4", () => from("0.0.0.0/0"), "write Access.anywhere() if it is meant"],
    ["the whole of IPv6", () => from("::/0"), "write Access.anywhere() if it is meant"],
    ["an RSA key", () => admin("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ ada"), "Access.ssh admins.ada: received"],
    ["key options", () => admin(`command="x" ${ADA}`), "must be one ed25519 public key line"],
    ["a token for the first admin", () => admin(Fn.trimspace("key")), "the first admin's key is part of first boot"],
    ["a system account", () => Access.ssh({ admins: { operator: ADA }, from: FROM }), "account or group of the system"],
    [
      "a bad name",
      () => Access.ssh({ admins: { "Ada L": ADA }, from: FROM }),
      "Access.ssh admins.Ada L name: received",
    ],
    ["a uid of a principal", () => admin({ key: ADA, uid: 20100 }), "give a whole number from 1000 to 19999"],
    [
      "a uid twice",
      () => Access.ssh({ admins: { ada: { key: ADA, uid: 1500 }, bob: { key: BOB, uid: 1500 } }, from: FROM }),
      'Access.ssh admins.bob.uid: received 1500; already the uid of "ada"',
    ],
    ["a bad variable name", () => Setting.fromEnv("bad name"), "give the name of an environment variable"],
  ])("is refused at synth: %s", (_what, make, message) => {
    expect(make).toThrow(message);
  });

  it("refuses a private key without repeating it", () => {
    const make = () => admin("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n");
    expect(make).toThrow("never a private key");
    expect(make).not.toThrow("b3BlbnNzaC1rZXk");
  });

  it.each([
    [{}, ["TEST_KEY is not set", "TEST_CIDR is not set"]],
    [
      { TEST_KEY: "-----BEGIN", TEST_CIDR: "10.0.0.1" },
      ["TEST_KEY holds no ed25519", 'TEST_CIDR: received "10.0.0.1"'],
    ],
    [{ TEST_KEY: ADA, TEST_CIDR: "0.0.0.0/0" }, ["the whole internet"]],
    [{ TEST_KEY: ADA, TEST_CIDR: "203.0.113.7/32, 198.51.100.0/24" }, []],
  ])("from the environment says what is missing, and never fails synth: %j", (env, messages) => {
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
    const given = Access.fromEnv({ key: "TEST_KEY", from: "TEST_CIDR" });
    expect(given.missing).toHaveLength(messages.length);
    messages.forEach((message, i) => {
      expect(given.missing[i]).toContain(message);
    });
    expect(aHost("ops", { access: given }).toSpec().access.bootstrapAdmin).toBe("admin");
  });

  it("of the operator uses the key that is set, and makes none", () => {
    vi.stubEnv("BAILIWICK_ADMIN_KEY", ADA);
    const given = Access.operator();
    expect(given.admins).toEqual([{ name: "admin", uid: 1000, key: { text: ADA } }]);
    expect(given.from).toEqual([{ text: "127.0.0.1/32" }]);
    expect(existsSync(operatorFile())).toBe(false);
  });

  it("of the operator makes a key once, for the operator alone, and keeps it", () => {
    const [first] = Access.operator().admins;
    expect(statSync(operatorFile()).mode & 0o777).toBe(0o600);
    expect(first?.key).toEqual({ text: readFileSync(`${operatorFile()}.pub`, "utf8").trim() });
    expect(Access.operator().admins[0]).toEqual(first);
  });

  it("of the operator fails the plan, not synth, when the key file is broken", () => {
    Access.operator();
    writeFileSync(operatorFile(), "not a key");
    expect(Access.operator().missing).toEqual([
      expect.stringContaining(
        `the operator's key at ${operatorFile()} cannot be read or made (no OpenSSH private key)`,
      ),
    ]);
  });
});

function admin(value: string | AdminProps): Access {
  return Access.ssh({ admins: { ada: value }, from: FROM });
}

function from(network: string): Access {
  return Access.ssh({ admins: { ada: ADA }, from: [network] });
}

function operatorFile(): string {
  return join(process.env.XDG_CONFIG_HOME ?? "", "bailiwick", "operator_ed25519");
}
