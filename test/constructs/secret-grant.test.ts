import { describe, expect, it } from "vitest";
import { Agent } from "../../constructs/agent.ts";
import { McpPackage, ModelProvider, Runtime, Secret } from "../../constructs/index.ts";
import { aHost } from "./synthesised.ts";

const command = Runtime.command({ source: "examples/command-agent/daemon", argv: ["node", "./main.mjs"] });
const token = () => Secret.fromEnv("TEAM_TOKEN");

function hostWith() {
  const host = aHost("ops");
  const agent = host.addAgent("bot", { runtime: command });
  return { host, agent, problems: () => problemsOf(() => host.toSpec()) };
}

function problemsOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as Error).message;
  }
  return "";
}

describe("a secret that is granted", () => {
  it("stands in the spec as a reference, with who reads it, once for both", () => {
    const { host, agent } = hostWith();
    const other = host.addAgent("other", { runtime: command });
    const server = host.addModel(
      "local",
      ModelProvider.onHost({ source: "examples/local-model/server", argv: ["./llama-server"] }),
    );
    const secret = token();
    expect(secret.grantRead(agent).grantRead(other).grantRead(server)).toBe(secret);
    const spec = host.toSpec();
    expect(spec.secrets).toEqual({ "team-token": { source: { kind: "env", variable: "TEAM_TOKEN" } } });
    expect(spec.grants.read).toEqual([
      { secret: "team-token", principal: "agent/bot" },
      { secret: "team-token", principal: "agent/other" },
      { secret: "team-token", principal: "model/local" },
    ]);
  });

  it("is a value: two hosts may grant it, each its own", () => {
    const secret = token();
    const [one, two] = [hostWith(), hostWith()];
    secret.grantRead(one.agent);
    expect(one.host.toSpec().grants.read).toHaveLength(1);
    expect(two.host.toSpec().grants.read).toBeUndefined();
    expect(two.host.toSpec().secrets).toEqual({});
  });

  it.each<[string, unknown, string]>([
    ["text", "bot", "secrets.team-token.grantRead: received a string; give what host.addAgent"],
    ["nothing", undefined, "received a undefined"],
    ["a look-alike", { ...Object.create(Agent.prototype), name: "bot" }, "received a object"],
  ])("is refused to a stranger: %s", (_, stranger, message) => {
    expect(problemsOf(() => token().grantRead(stranger as Agent))).toContain(message);
  });

  it("is refused to a shell, which runs what its agent says", () => {
    const { agent } = hostWith();
    const shell = agent.grantShell();
    expect(problemsOf(() => token().grantRead(shell as unknown as Agent))).toContain("received a object; give what");
  });

  it("is refused a second time, and beside another of its name", () => {
    const { host, agent } = hostWith();
    token().grantRead(agent);
    expect(problemsOf(() => token().grantRead(agent))).toBe(
      'AgentHost "ops": secrets.team-token.grantRead: secret "team-token" to "agent/bot" is granted twice; remove one of the two (once is enough)',
    );
    const another = host.addAgent("another", { runtime: command });
    const namesake = Secret.fromEnv("OTHER", { name: "team-token" });
    const wrong = 'received a second secret named "team-token" with another source';
    expect(problemsOf(() => namesake.grantRead(another))).toContain(wrong);
    expect(problemsOf(() => host.addModel("m", ModelProvider.anthropic({ apiKey: namesake })))).toContain(wrong);
  });

  it("is refused to an OpenClaw agent, a model or a server that is elsewhere", () => {
    const { host, problems } = hostWith();
    token().grantRead(host.addAgent("claw"));
    token().grantRead(host.addModel("demo", ModelProvider.demo()));
    token().grantRead(host.addMcpServer("far", McpPackage.remote({ url: "https://mcp.example.com/mcp" })));
    expect(problems().split("\n")).toEqual([
      expect.stringContaining('grants.read[0].principal: received agent "claw", whose OpenClaw reads no secret'),
      expect.stringContaining('grants.read[1].principal: received model "demo", of which no program of yours runs'),
      expect.stringContaining('grants.read[2].principal: received MCP server "far", which does not run on this host'),
    ]);
  });

  it("is refused where it is the gateway's or the guard's alone, whichever came first and whatever its name", () => {
    const { host, agent, problems } = hostWith();
    Secret.fromEnv("ANTHROPIC_API_KEY").grantRead(agent);
    host.addModel("claude", ModelProvider.anthropic({ apiKey: Secret.fromEnv("ANTHROPIC_API_KEY") }));
    host.addMcpServer("far", McpPackage.remote({ url: "https://mcp.example.com/mcp", token: token() }));
    Secret.fromEnv("TEAM_TOKEN", { name: "alias" }).grantRead(agent);
    expect(problems().split("\n")).toEqual([
      expect.stringContaining(
        'grants.read[0].secret: received "anthropic-api-key", which is the key of model provider "claude"',
      ),
      expect.stringContaining('grants.read[1].secret: received "alias", which is the token of MCP server "far"'),
    ]);
  });

  it("counts as a real key: its host is a virtual machine, unless another engine is said in words", () => {
    const { host, agent } = hostWith();
    const engine = () => (host.toSpec().machine as { engine?: string }).engine;
    expect(engine()).toBe("nspawn");
    token().grantRead(agent);
    expect(engine()).toBe("qemu");
  });
});
