import { describe, expect, it } from "vitest";
import { parseHostSpec, SpecError } from "../../../runtime/spec/host-spec.ts";
import { exampleSpec } from "../../fixtures/spec.ts";
import { SERVICE } from "../release/render/sample.ts";

type Spec = ReturnType<typeof exampleSpec>;

function problems(change: (spec: Spec) => unknown): string[] {
  const spec = exampleSpec();
  change(spec);
  try {
    parseHostSpec(spec);
    return [];
  } catch (error) {
    expect(error).toBeInstanceOf(SpecError);
    return [...(error as SpecError).problems];
  }
}

/** A spec with one thing changed, and what its author is told. */
const refused: [string, (spec: Spec) => unknown, string][] = [
  [
    "an unknown key",
    (s) => Object.assign(s, { extra: 1 }),
    'spec: unknown key "extra"; remove it or see docs/reference/host-spec.md for what exists',
  ],
  [
    "an unknown key deep down",
    (s) => Object.assign(s.agents.ops ?? {}, { shell: true }),
    'agents.ops: unknown key "shell"; remove it or see docs/reference/host-spec.md for what exists',
  ],
  [
    "a CIDR with host bits",
    (s) => (s.access.from = ["203.0.113.7/24"]),
    'access.from[0]: received "203.0.113.7/24"; host bits are set; write the network\'s own address, or /32 (/128) for one machine',
  ],
  [
    "an address without a prefix",
    (s) => (s.access.from = ["203.0.113.7"]),
    'access.from[0]: received "203.0.113.7"; write an address and a prefix length, such as 203.0.113.7/32',
  ],
  [
    "an IPv6 network with host bits",
    (s) => (s.access.from = ["2001:db8::1/64"]),
    'access.from[0]: received "2001:db8::1/64"; host bits are set; write the network\'s own address, or /32 (/128) for one machine',
  ],
  [
    "a prefix too long",
    (s) => (s.access.from = ["10.0.0.0/33"]),
    'access.from[0]: received "10.0.0.0/33"; the prefix length of an IPv4 network is at most 32',
  ],
  [
    "a bootstrap admin who is none",
    (s) => Object.assign(s.access, { bootstrapAdmin: "bob" }),
    'access.bootstrapAdmin: received "bob", which is no admin; name one of "ada"',
  ],
  [
    "a model without its secret",
    (s) => Object.assign(s, { secrets: {} }),
    'models.claude.apiKey: received "anthropic-key", which is no secret of this host; it has none',
  ],
  [
    "a grant to nobody",
    (s) => (s.grants.mount = [{ agent: "nobody", workspace: "repo", mode: "ro" }]),
    'grants.mount[0].agent: received "nobody", which is no agent of this host; it has "ops"',
  ],
  [
    "one grant twice",
    (s) => s.grants.mount.push({ agent: "ops", workspace: "repo", mode: "ro" }),
    'grants.mount[1]: workspace "repo" to agent "ops" is granted twice; remove one of the two grants',
  ],
  [
    "a wildcard of everything",
    (s) => (s.grants.egress = [{ principal: "agent/ops", name: "*" }]),
    'grants.egress[0].name: received "*"; must be a star for one whole label before an exact lower-case name of at least two, such as *.example.com',
  ],
  [
    "a wildcard among strangers",
    (s) => (s.grants.egress = [{ principal: "agent/ops", name: "*.github.io" }]),
    'grants.egress[0].name: received "*.github.io"; must not be where others have names: anybody can have a name below github.io; allow each exact name',
  ],
  [
    "a wildcard of another port",
    (s) => (s.grants.connect = [{ principal: "agent/ops", host: "*.example.com", port: 22 }]),
    'grants.connect[0].host: received "*.example.com"; must be one IP address such as 10.0.0.5 or fd00::5 (no network, no port, no name)',
  ],
  [
    "an address as a name",
    (s) => (s.grants.egress = [{ principal: "agent/ops", name: "203.0.113.7" }]),
    'grants.egress[0].name: received "203.0.113.7"; must be one exact lower-case DNS name such as api.example.com (no wildcard, no scheme, no port, no IP address)',
  ],
  [
    "a network to connect to",
    (s) => (s.grants.connect = [{ principal: "agent/ops", host: "10.0.0.0/8", port: 22 }]),
    'grants.connect[0].host: received "10.0.0.0/8"; must be one IP address such as 10.0.0.5 or fd00::5 (no network, no port, no name)',
  ],
  [
    "one port twice",
    (s) =>
      (s.grants.connect = [
        { principal: "agent/ops", host: "10.0.0.5", port: 22 },
        { principal: "agent/ops", host: "10.0.0.5", port: 22 },
      ]),
    'grants.connect[1]: port 22 of "10.0.0.5" to "agent/ops" is granted twice; remove one of the two grants',
  ],
  [
    "two agents with one uid",
    (s) =>
      Object.assign(s.agents, {
        two: { uid: s.agents.ops?.uid ?? 0, runtime: s.agents.ops?.runtime, budget: s.agents.ops?.budget },
      }),
    `agents.two.uid: received 20101, already the uid (and so the port) of agent "ops"; set another uid for agent "two"`,
  ],
  [
    "a private key where the public one belongs",
    (s) => Object.assign(s.access.admins.ada ?? {}, { publicKey: "-----BEGIN OPENSSH PRIVATE KEY-----" }),
    'access.admins.ada.publicKey: received "-----BEGIN OPENSSH PRIVATE KEY-----"; must be one ed25519 public key line as in id_ed25519.pub: `ssh-ed25519 AAAA… comment` (never a private key)',
  ],
  [
    "a provider by http",
    (s) => Object.assign(s.models.claude ?? {}, { url: "http://api.example.com" }),
    'models.claude.url: received "http://api.example.com"; must be an https:// URL of an exact name, port 443, or one of an address such as http://10.0.0.5:8000',
  ],
  [
    "a provider whose address is written otherwise than it is read",
    (s) => Object.assign(s.models.claude ?? {}, { url: "http://10.5:8000" }),
    'models.claude.url: received "http://10.5:8000"; must be an https:// URL of an exact name, port 443, or one of an address such as http://10.0.0.5:8000',
  ],
  [
    "a model server that is elsewhere too",
    (s) => Object.assign(s.models.claude ?? {}, { service: SERVICE, provider: "openai-compatible" }),
    "models.claude.url: a provider on the host has no url; use null",
  ],
  [
    "a model server in another format",
    (s) => Object.assign(s.models.claude ?? {}, { service: SERVICE, url: null, uid: 20500 }),
    'models.claude.service: received one of a provider "anthropic"; it must be "openai-compatible"',
  ],
  [
    "a model of OpenClaw that is not granted",
    (s) => Object.assign(s.agents.ops?.runtime ?? {}, { model: { provider: "claude", id: "other" } }),
    'agents.ops.runtime.model: received "claude/other", which is not granted to "ops"; grant it with grantInvoke',
  ],
];

describe("HostSpec", () => {
  it("takes a whole host", () => {
    expect(problems(() => undefined)).toEqual([]);
  });

  it.each(refused)("refuses %s, naming where, what was received and what to do", (_what, change, message) => {
    expect(problems(change)).toContain(message);
  });

  it("tells every problem at once", () => {
    expect(problems((s) => Object.assign(s, { secrets: {}, name: "No" }))).toHaveLength(2);
  });
});
