import { Fn, TerraformStack } from "cdktf";
import { describe, expect, it } from "vitest";
import {
  AgentHost,
  LocalMachine,
  type LocalMachineProps,
  ModelProvider,
  Runtime,
  Secret,
} from "../../constructs/index.ts";
import { principalUid } from "../../runtime/spec/names.ts";
import { access, aHost, anApp } from "./synthesised.ts";

const apiKey = Secret.fromEnv("ANTHROPIC_API_KEY");
const anthropic = ModelProvider.anthropic({ apiKey });
const demo = ModelProvider.demo();
const token = Fn.trimspace("x");

describe("a host refuses at construction", () => {
  const host = () => aHost("ops");
  const machine = (props: unknown) => () =>
    new LocalMachine(new TerraformStack(anApp(), "s"), "machine", props as LocalMachineProps);

  it.each<[string, () => unknown, string]>([
    [
      "an unknown key",
      () => aHost("ops", { acess: 1 } as never),
      'AgentHost "ops": unknown key "acess"; it takes machine',
    ],
    ["a bad name", () => aHost("Ops"), 'AgentHost "Ops": name: received "Ops"; must be 1 to 20 of a-z'],
    ["a token for a name", () => aHost("ops", { name: token }), 'AgentHost "ops": name: received a Terraform token'],
    ["something else for access", () => aHost("ops", { access: {} as never }), 'AgentHost "ops": access: received {}'],
    [
      "something else for a machine",
      () => aHost("ops", { machine: {} as never }),
      "machine: received {}; give a machine",
    ],
    ["a short timeout", () => aHost("ops", { timeouts: { healthSeconds: 1 } }), "timeouts.healthSeconds: received 1;"],
    ["an unknown timeout", () => aHost("ops", { timeouts: { health: 9 } as never }), 'timeouts: unknown key "health"'],
    ["an unknown key of a machine", machine({ ram: 1 }), 'LocalMachine "machine": unknown key "ram"; it takes engine'],
    [
      "a token for a size",
      machine({ cpus: Fn.lengthOf([]) }),
      'LocalMachine "machine": cpus: received a Terraform token',
    ],
    ["a size out of range", machine({ memoryMiB: 64 }), 'LocalMachine "machine": memoryMiB: received 64;'],
    ["half a processor", machine({ cpus: 0.5 }), 'LocalMachine "machine": cpus: received 0.5; must be a whole number'],
    ["an engine there is not", machine({ engine: "docker" }), 'LocalMachine "machine": engine: received "docker"'],
    ["a bad name of an agent", () => host().addAgent("a_b"), 'AgentHost "ops": addAgent("a_b"): name: received "a_b"'],
    ["a token for a name of an agent", () => host().addAgent(token), "name: received a Terraform token"],
    [
      "an unknown key of an agent",
      () => host().addAgent("a", { user: "x" } as never),
      'addAgent("a"): unknown key "user"',
    ],
    [
      "something else for a runtime",
      () => host().addAgent("a", { runtime: "x" as never }),
      'addAgent("a").runtime: received "x"',
    ],
    [
      "a uid of an admin",
      () => host().addAgent("a", { uid: 1000 }),
      'AgentHost "ops": addAgent("a").uid: received 1000;',
    ],
    ["a token for a uid", () => host().addAgent("a", { uid: Fn.lengthOf([]) }), "uid: received a Terraform token"],
    [
      "something else for a provider",
      () => host().addModel("m", {} as never),
      'addModel("m"): received {}; give a ModelProvider',
    ],
    [
      "a workspace without room",
      () => host().addWorkspace("w", { quotaMiB: 0 }),
      'AgentHost "ops": addWorkspace("w").quotaMiB: received 0',
    ],
    ["half a MiB", () => host().addWorkspace("w", { quotaMiB: 0.5 }), 'addWorkspace("w").quotaMiB: received 0.5'],
    ["a quota in words", () => host().addWorkspace("w", { quotaMiB: "1G" as never }), 'quotaMiB: received "1G"'],
    [
      "a token for a quota",
      () => host().addWorkspace("w", { quotaMiB: token as never }),
      "quotaMiB: received a Terraform token",
    ],
    [
      "an unknown key of a workspace",
      () => host().addWorkspace("w", { quota: 5 } as never),
      'addWorkspace("w"): unknown key "quota"; it takes quotaMiB, seed',
    ],
    [
      "a workspace inside another",
      () => {
        const h = host();
        h.addWorkspace("repo");
        h.addWorkspace("repo/inner");
      },
      'addWorkspace("repo/inner"): received "repo/inner"; a workspace is a directory of its own',
    ],
    ["a workspace beside the data volume", () => host().addWorkspace("../etc"), 'received "../etc"; a workspace is'],
    ["a hidden workspace", () => host().addWorkspace(".git"), 'name: received ".git"; must be 1 to 20 of a-z'],
    [
      "a workspace's half-made name",
      () => host().addWorkspace("repo.seed"),
      'name: received "repo.seed"; must be 1 to 20',
    ],
    ["a root folder as a workspace", () => host().addWorkspace("/"), 'addWorkspace("/"): received "/"; a workspace is'],
    [
      "the home folder as a workspace",
      () => host().addWorkspace("$HOME"),
      'received "$HOME"; a workspace is a directory of',
    ],
    ["~ as a workspace", () => host().addWorkspace("~"), 'received "~"; a workspace is a directory of its own'],
    [
      "a wildcard with a port",
      () => host().addAgent("a").allowEgress("*.example.com", { port: 22 }),
      'agents.a.allowEgress: received "*.example.com"; a wildcard is of TCP 443',
    ],
    [
      "an address",
      () => host().addAgent("a").allowEgress("192.0.2.1"),
      'agents.a.allowEgress: received "192.0.2.1"; must be one exact',
    ],
    ["an IPv6 address", () => host().addAgent("a").allowEgress("2001:db8::1"), "must be one exact lower-case DNS name"],
    ["a URL for a name", () => host().addAgent("a").allowEgress("https://api.example.com"), "must be one exact"],
    [
      "a network for an address",
      () => host().addAgent("a").allowAddress("10.0.0.0/8", 5432),
      'agents.a.allowAddress: received "10.0.0.0/8"; must be one IP address',
    ],
    [
      "a metadata service for an address",
      () => host().addAgent("a").allowAddress("169.254.169.254", 80),
      'received "169.254.169.254"; is of the host itself, link-local, multicast, translated or a metadata service',
    ],
    [
      "the host itself",
      () => host().addAgent("a").allowAddress("127.0.0.1", 22),
      'received "127.0.0.1"; is of the host',
    ],
    [
      "an address in another form",
      () => host().addAgent("a").allowAddress("FD00:0::5", 22),
      "must be written as fd00::5",
    ],
    [
      "an IPv4 address within an IPv6 one",
      () => host().addAgent("a").allowAddress("::ffff:a9fe:a9fe", 80),
      'received "::ffff:a9fe:a9fe"; is of the host itself',
    ],
    [
      "a port out of range",
      () => host().addAgent("a").allowAddress("10.0.0.5", 65536),
      "allowAddress.port: received 65536",
    ],
    [
      "port 0 of a name",
      () => host().addAgent("a").allowEgress("a.example.com", { port: 0 }),
      "allowEgress.port: received 0",
    ],
    ["a token for a name to reach", () => host().addAgent("a").allowEgress(token), "received a Terraform token"],
    [
      "a provider in clear over the Internet",
      () => ModelProvider.openAiCompatible({ url: "http://203.0.113.9:8000" }),
      "http:// to an address that is not private would show keys and content on the way",
    ],
    [
      "a provider on the host's own loopback, which is no one's to reach",
      () => ModelProvider.openAiCompatible({ url: "http://127.0.0.1:8000" }),
      "its address is of the host itself",
    ],
    [
      "a metadata service for a provider",
      () => ModelProvider.openAiCompatible({ url: "http://169.254.169.254" }),
      "a metadata service; none of these is granted",
    ],
    [
      "a provider by name on another port",
      () => ModelProvider.openAiCompatible({ url: "https://llm.example.com:8443" }),
      "must be an https:// URL of an exact name, port 443, or one of an address",
    ],
    [
      "a model server whose arguments hold a key",
      () =>
        ModelProvider.onHost({
          source: "examples/local-model/server",
          argv: ["node", `sk-ant-api03-${"x".repeat(80)}`],
        }),
      "ModelProvider.onHost argv[1]: received",
    ],
    [
      "a model server with a key of its own",
      () => ModelProvider.onHost({ source: "examples/local-model/server", argv: ["node"], apiKey: "x" } as never),
      "apiKey",
    ],
    [
      "a provider without TLS",
      () => ModelProvider.openAiCompatible({ url: "http://llm.example.com" }),
      "must be an https:// URL",
    ],
    [
      "a provider with a password",
      () => ModelProvider.openAiCompatible({ url: "https://ada:pw@llm.example.com" }),
      "a URL with a password",
    ],
    [
      "a provider's URL with its /v1",
      () => ModelProvider.openAiCompatible({ url: "https://llm.example.com/v1" }),
      "leave out the /v1",
    ],
    ["an unknown key of a provider", () => ModelProvider.openai({ apiKey, org: "x" } as never), 'unknown key "org"'],
  ])("%s", (_what, make, message) => {
    expect(make).toThrow(message);
  });

  it("two things of one kind with one name", () => {
    const ops = host();
    ops.addAgent("a");
    ops.addModel("a", demo);
    ops.addWorkspace("a");
    expect(() => ops.addAgent("a")).toThrow(
      'AgentHost "ops": addAgent("a"): received "a", already taken by another agent',
    );
    expect(() => ops.addModel("a", demo)).toThrow("already taken by another model of this host");
    expect(() => ops.addWorkspace("a")).toThrow("already taken by another workspace of this host");
  });

  it("two hosts of one name in an app", () => {
    const app = anApp();
    aHost("ops", {}, app);
    const second = new TerraformStack(app, "second");
    expect(() => new AgentHost(second, "ops", { machine: new LocalMachine(second, "machine"), access })).toThrow(
      'AgentHost "ops": name: received "ops", already the name of the host at stack-ops/ops',
    );
  });

  it("two principals of one uid, and so of one port", () => {
    const ops = host();
    ops.addAgent("a", { uid: 25000 });
    expect(() => ops.addAgent("b", { uid: 25000 })).toThrow(
      'AgentHost "ops": addAgent("b").uid: uid 25000, and so its ports, already belongs to "a"; set uid',
    );
    ops.addAgent("c", { uid: principalUid("model/demo") });
    expect(() => ops.addModel("demo", demo)).toThrow('already belongs to "c"');
  });

  it("two secrets of one name", () => {
    const ops = host();
    ops.addModel("one", anthropic);
    ops.addModel("two", ModelProvider.openai({ apiKey: Secret.fromEnv("ANTHROPIC_API_KEY") }));
    const other = Secret.fromFile("~/key", { name: "anthropic-api-key" });
    expect(() => ops.addModel("three", ModelProvider.openai({ apiKey: other }))).toThrow(
      'addModel("three"): received a second secret named "anthropic-api-key" with another source',
    );
  });

  it("a second host on its machine", () => {
    const { machine } = host();
    const stack = TerraformStack.of(machine);
    expect(() => new AgentHost(stack, "second", { machine, access })).toThrow(
      'AgentHost "second": machine: received "stack-ops/machine", which carries host "ops"; a machine carries one host',
    );
  });

  it("a machine of another stack", () => {
    const app = anApp();
    const machine = new LocalMachine(new TerraformStack(app, "elsewhere"), "machine");
    expect(() => aHost("ops", { machine }, app)).toThrow('received "elsewhere/machine" of another stack');
  });

  it("a grant across two hosts", () => {
    const app = anApp();
    const [one, two] = [aHost("one", {}, app), aHost("two", {}, app)];
    const stranger = two.addAgent("ops");
    const model = one.addModel("claude", anthropic);
    const workspace = one.addWorkspace("repo");
    const message = 'received agent "ops" of host "two"; a grant stays within one host';
    expect(() => model.grantInvoke(stranger, { models: ["m"] })).toThrow(`models.claude.grantInvoke: ${message}`);
    expect(() => workspace.grantRead(stranger)).toThrow(`AgentHost "one": workspaces.repo.grantRead: ${message}`);
    expect(() => workspace.grantReadWrite(stranger)).toThrow(message);
    expect(() => model.grantInvoke("ops" as never, { models: ["m"] })).toThrow("received string, not an agent");
  });

  it("the same grant twice", () => {
    const ops = host();
    const agent = ops.addAgent("a").allowEgress("api.example.com");
    const model = ops.addModel("claude", anthropic).grantInvoke(agent, { models: ["m"] });
    const workspace = ops.addWorkspace("repo").grantRead(agent);
    expect(() => agent.allowEgress("api.example.com")).toThrow('name "api.example.com" to "agent/a" is granted twice');
    agent.allowEgress("git.example.com", { port: 22 }).allowAddress("10.0.0.5", 5432);
    expect(() => agent.allowEgress("git.example.com", { port: 22 })).toThrow(
      'port 22 of "git.example.com" to "agent/a"',
    );
    expect(() => agent.allowAddress("10.0.0.5", 5432)).toThrow('port 5432 of "10.0.0.5" to "agent/a" is granted twice');
    expect(() => model.grantInvoke(agent, { models: ["n"] })).toThrow('model "claude" to agent "a" is granted twice');
    expect(() => workspace.grantReadWrite(agent)).toThrow('workspace "repo" to agent "a" is granted twice');
  });

  it.each([
    [{ models: [] }, "models.claude.grantInvoke.models: received []"],
    [{ models: ["m", "m"] }, 'models.claude.grantInvoke.models: received "m"; it is in the list twice'],
    [{ models: ["has space"] }, 'models.claude.grantInvoke.models[0]: received "has space"; must be a model id'],
    [{ models: ["m"], budget: 5 }, 'models.claude.grantInvoke: unknown key "budget"; it takes models'],
    [{ models: [token] }, "models.claude.grantInvoke.models[0]: received a Terraform token"],
    [{ models: ["m"], usdPerDay: 0 }, "models.claude.grantInvoke.usdPerDay: received 0;"],
    [{ models: ["m"], usdPerMonth: -5 }, "models.claude.grantInvoke.usdPerMonth: received -5;"],
    [{ models: ["m"], usdPerDay: token }, "models.claude.grantInvoke.usdPerDay: received a Terraform token"],
  ])("a bad grant of a model: %j", (props, message) => {
    const ops = host();
    const agent = ops.addAgent("a");
    const claude = ops.addModel("claude", anthropic);
    expect(() => claude.grantInvoke(agent, props as never)).toThrow(message);
  });
});

describe("a host refuses at synth", () => {
  it("a model of OpenClaw that is not granted to it, and says all problems at once", () => {
    const app = anApp();
    const host = aHost("ops", {}, app);
    const runtime = Runtime.openClaw({ model: { provider: "claude", id: "sonnet" } });
    const agent = host.addAgent("a", { runtime });
    host.addAgent("b", { runtime });
    host.addModel("stand-in", demo).grantInvoke(agent, { models: ["sonnet"] });
    const problem = 'runtime.model: received "claude/sonnet", which is not granted to';
    expect(() => app.synth()).toThrow(`[stack-ops/ops] AgentHost "ops": agents.a.${problem} "a"`);
    expect(() => app.synth()).toThrow(`AgentHost "ops": agents.b.${problem} "b"`);
  });
});
