import { Fn } from "cdktf";
import { describe, expect, it } from "vitest";
import type { AgentHost, LocalMachine, ShellProps } from "../../constructs/index.ts";
import { shellConfig } from "../../runtime/policy/shell/shell.ts";
import { principalUid } from "../../runtime/spec/names.ts";
import { aHost } from "./synthesised.ts";

const withShell = (props?: ShellProps) => {
  const host = aHost("ops");
  const agent = host.addAgent("ops");
  return { host, agent, shell: agent.grantShell(props) };
};

describe("an agent's shell", () => {
  it("sees all workspaces of the agent, also those that are granted later, unless some are named", () => {
    const { host, agent } = withShell();
    host.addWorkspace("repo").grantReadWrite(agent);
    host.addWorkspace("docs").grantRead(agent);
    host.addWorkspace("others").grantRead(host.addAgent("other"));
    expect(host.toSpec().grants.shell).toEqual([
      {
        agent: "ops",
        uid: principalUid("shell/ops"),
        workspaces: ["repo", "docs"],
        seconds: 50,
        outputBytes: 65536,
        approval: "waived",
      },
    ]);
    const named = aHost("two");
    const second = named.addAgent("ops");
    const repo = named.addWorkspace("repo").grantReadWrite(second);
    named.addWorkspace("docs").grantRead(second);
    second.grantShell({ workspaces: [repo], limits: { memoryMiB: 512 }, seconds: 5, uid: 20_123 });
    expect(named.toSpec().grants.shell).toMatchObject([
      { workspaces: ["repo"], limits: { memoryMiB: 512 }, seconds: 5, uid: 20_123 },
    ]);
  });

  it("has its own way to the network: what the agent was granted is not the shell's, nor the other way round", () => {
    const { host, agent, shell } = withShell();
    agent.allowEgress("agent.example.com");
    shell.allowEgress("shell.example.com").allowEgress("git.example.com", { port: 22 }).allowAddress("10.0.0.5", 5432);
    expect(host.toSpec().grants).toMatchObject({
      egress: [
        { principal: "agent/ops", name: "agent.example.com" },
        { principal: "shell/ops", name: "shell.example.com" },
      ],
      connect: [
        { principal: "shell/ops", host: "git.example.com", port: 22 },
        { principal: "shell/ops", host: "10.0.0.5", port: 5432 },
      ],
    });
  });

  it("may have a wildcard of its own, of which synth warns, and which its tool tells the agent of", () => {
    const { host, shell } = withShell();
    shell.allowEgress("*.example.com");
    const spec = host.toSpec();
    expect(spec.grants.egress).toEqual([{ principal: "shell/ops", name: "*.example.com" }]);
    const warnings = host.node
      .findAll()
      .flatMap(({ node }) => node.metadata.filter(({ type }) => /warn/i.test(type)).map(({ data }) => String(data)));
    expect(warnings).toEqual([
      expect.stringContaining('agents.ops.shell.allowEgress("*.example.com"): grants every name'),
    ]);
    const [grant] = spec.grants.shell ?? [];
    expect(JSON.stringify(grant === undefined ? null : shellConfig(spec, grant))).toContain(
      "every name of one label before example.com",
    );
  });

  it("is nowhere in the spec of a host without one", () => {
    const host = aHost("ops");
    host.addAgent("ops");
    expect(Object.keys(host.toSpec().grants)).not.toContain("shell");
  });
});

type Made = ReturnType<typeof withShell>;
const at = 'AgentHost "ops": agents.ops.grantShell';

describe("refused, with the path, what was received and what to do", () => {
  it.each<[string, (made: Made) => unknown, string]>([
    ["a second shell", ({ agent }) => agent.grantShell(), `${at}: a shell to agent "ops" is granted twice`],
    [
      "a wildcard on another port",
      ({ shell }) => shell.allowEgress("*.example.com", { port: 8443 }),
      "agents.ops.shell.allowEgress: received",
    ],
    ["every name", ({ shell }) => shell.allowEgress("*"), 'received "*"; must be a star for one whole label'],
    [
      "an address as a name",
      ({ shell }) => shell.allowEgress("203.0.113.9"),
      'received "203.0.113.9"; must be one exact',
    ],
    ["a port that is none", ({ shell }) => shell.allowAddress("10.0.0.5", 0), "allowAddress.port: received 0"],
    ["a network", ({ shell }) => shell.allowAddress("10.0.0.0/8", 22), 'received "10.0.0.0/8"'],
    ["a token for a name", ({ shell }) => shell.allowEgress(Fn.trimspace("x")), "received a Terraform token"],
    ["a metadata service", ({ shell }) => shell.allowAddress("169.254.169.254", 80), "none of these is granted"],
    [
      "a name twice",
      ({ shell }) => shell.allowEgress("a.example.com").allowEgress("a.example.com"),
      'name "a.example.com" to "shell/ops" is granted twice',
    ],
  ])("%s", (_, attempt, message) => {
    expect(() => attempt(withShell())).toThrow(message);
  });

  it.each<[string, ShellProps, string]>([
    ["an unknown key", { workspace: [] } as never, `${at}: unknown key "workspace"; it takes workspaces, seconds`],
    [
      "a name for a workspace",
      { workspaces: ["repo" as never] },
      `${at}.workspaces[0]: received "repo"; give what host.addWorkspace returned`,
    ],
    ["no list of workspaces", { workspaces: "repo" as never }, `${at}.workspaces: received "repo"`],
    ["too long a time", { seconds: 241 }, `${at}.seconds: received 241`],
    ["no time", { seconds: 0 }, `${at}.seconds: received 0`],
    ["half a second", { seconds: 0.5 }, `${at}.seconds: received 0.5`],
    ["too much output", { outputBytes: 1 << 20 }, `${at}.outputBytes: received 1048576`],
    ["another approval", { approval: "never" as never }, `${at}.approval: received "never"`],
    ["a limit that is none", { limits: { memoryMiB: 1 } }, `${at}.limits.memoryMiB: received 1`],
    ["an unknown limit", { limits: { memory: 1 } as never }, `${at}.limits: unknown key "memory"`],
    ["a uid of somebody", { uid: 1000 }, `${at}.uid: received 1000`],
    ["a token", { seconds: Fn.lengthOf([]) as never }, `${at}.seconds: received a Terraform token`],
  ])("%s", (_, props, message) => {
    expect(() => withShell(props)).toThrow(message);
  });

  it("a workspace of another host", () => {
    const theirs = aHost("other").addWorkspace("repo");
    expect(() => withShell({ workspaces: [theirs] })).toThrow(
      `${at}.workspaces[0]: received workspace "repo" of host "other"; a grant stays within one host`,
    );
  });

  it.each<[string, (host: AgentHost<LocalMachine>) => void, string]>([
    [
      "a workspace that the agent itself is not granted",
      (host) => {
        const repo = host.addWorkspace("repo").grantRead(host.addAgent("other"));
        host.addAgent("ops").grantShell({ workspaces: [repo] });
      },
      'AgentHost "ops": grants.shell[0].workspaces[0]: received "repo", which is not granted to agent "ops" itself; it has none',
    ],
    [
      "a workspace twice",
      (host) => {
        const agent = host.addAgent("ops");
        const repo = host.addWorkspace("repo").grantRead(agent);
        agent.grantShell({ workspaces: [repo, repo] });
      },
      'grants.shell[0].workspaces[1]: received "repo" twice; remove one',
    ],
    [
      "the uid of another",
      (host) => {
        host.addAgent("other", { uid: 20_150 });
        host.addAgent("ops").grantShell({ uid: 20_150 });
      },
      'grants.shell[0].uid: received 20150, already the uid (and so the port) of agent "other"; set another uid for the shell of agent "ops"',
    ],
  ])("%s, when all grants are known", (_, make, message) => {
    const host = aHost("ops");
    make(host);
    expect(() => host.toSpec()).toThrow(message);
  });
});
