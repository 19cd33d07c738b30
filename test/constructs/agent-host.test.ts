import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Aspects, TerraformStack } from "cdktf";
import { describe, expect, it } from "vitest";
import { AgentHost, LocalMachine, ModelProvider, Runtime, Secret } from "../../constructs/index.ts";
import { NO_BUDGET, NO_LIMITS } from "../../runtime/policy/models/schema.ts";
import { principalUid } from "../../runtime/spec/names.ts";
import { access, aHost, anApp, synthesise, temporaryFolder } from "./synthesised.ts";

const anthropic = ModelProvider.anthropic({ apiKey: Secret.fromEnv("ANTHROPIC_API_KEY") });
const demo = ModelProvider.demo();

describe("a host", () => {
  it("has the spec of its grants, secrets by reference, all else denied", () => {
    const host = aHost("ops", { timeouts: { healthSeconds: 60 } });
    const agent = host.addAgent("ops", { runtime: Runtime.openClaw({ model: { provider: "claude", id: "sonnet" } }) });
    host.addAgent("quiet", { uid: 25000 });
    host.addModel("claude", anthropic).grantInvoke(agent, { models: ["sonnet", "haiku"] });
    host.addModel("stand-in", demo);
    host.addModel("lab", ModelProvider.openAiCompatible({ url: "https://llm.example.com/openai/" }));
    host.addWorkspace("repo").grantReadWrite(agent);
    host.addWorkspace("docs").grantRead(agent);
    agent.allowEgress("api.example.com");
    expect(host.toSpec()).toMatchObject({
      name: "ops",
      os: "debian-13",
      machine: { kind: "local", engine: "qemu", memoryMiB: 2048, cpus: 2, rootGiB: 10, dataGiB: 10 },
      secrets: { "anthropic-api-key": { source: { kind: "env", variable: "ANTHROPIC_API_KEY" } } },
      models: {
        claude: { provider: "anthropic", url: "https://api.anthropic.com", apiKey: "anthropic-api-key", uid: null },
        "stand-in": { provider: "demo", url: null, apiKey: null, uid: principalUid("model/stand-in") },
        lab: { provider: "openai-compatible", url: "https://llm.example.com/openai", apiKey: null, uid: null },
      },
      agents: {
        ops: { uid: principalUid("agent/ops"), runtime: { kind: "openclaw", version: "2026.9.6" } },
        quiet: { uid: 25000, runtime: { model: null } },
      },
      workspaces: { repo: {}, docs: {} },
      timeouts: { baselineSeconds: 600, healthSeconds: 60, confirmSeconds: 60, drainSeconds: 10 },
      keepReleases: 3,
    });
    expect(host.toSpec().grants).toEqual({
      invoke: [{ agent: "ops", model: "claude", models: ["sonnet", "haiku"], budget: NO_BUDGET, limits: NO_LIMITS }],
      mount: [
        { agent: "ops", workspace: "repo", mode: "rw" },
        { agent: "ops", workspace: "docs", mode: "ro" },
      ],
      egress: [{ principal: "agent/ops", name: "api.example.com" }],
      connect: [],
    });
  });

  it("writes its spec at synth, with grants made after its construction and by aspects", () => {
    const app = anApp();
    const host = aHost("ops", {}, app);
    const agent = host.addAgent("late");
    Aspects.of(TerraformStack.of(host)).add({
      visit: (node) => {
        if (node === host) agent.allowEgress("late.example.com");
      },
    });
    const { specs, terraform } = synthesise(app, "stack-ops");
    expect(Object.keys(specs)).toEqual(["ops.json"]);
    expect(specs["ops.json"]).toEqual(host.toSpec());
    expect(specs["ops.json"]?.grants.egress).toEqual([{ principal: "agent/late", name: "late.example.com" }]);
    expect(terraform).not.toContain("TfToken");
  });

  it("is pushed again when a file of an agent's folder changes, though its spec does not", () => {
    const source = temporaryFolder();
    const triggers = () => {
      const app = anApp();
      aHost("ops", {}, app).addAgent("a", { runtime: Runtime.command({ source, argv: ["node", "./x.mjs"] }) });
      const { resource } = JSON.parse(synthesise(app, "stack-ops").terraform);
      const names = Object.keys(resource.terraform_data).filter((name) => name.startsWith("ops_release"));
      return resource.terraform_data[names[0] ?? ""].triggers_replace;
    };
    writeFileSync(join(source, "x.mjs"), "1");
    const before = triggers();
    expect(triggers()).toEqual(before);
    writeFileSync(join(source, "x.mjs"), "2");
    const after = triggers();
    expect(after.spec).toBe(before.spec);
    expect(after.components).not.toBe(before.components);
  });

  it("keeps its Terraform, which holds a one-time key, from other users", () => {
    const app = anApp();
    aHost("ops", {}, app);
    app.synth();
    expect(statSync(join(app.outdir, "stacks", "stack-ops", "cdk.tf.json")).mode & 0o777).toBe(0o600);
  });

  it("leaves no spec of a host that is no more", () => {
    const before = anApp();
    aHost("ops", { name: "before" }, before);
    expect(Object.keys(synthesise(before, "stack-ops").specs)).toEqual(["before.json"]);
    const after = anApp(before.outdir);
    aHost("ops", { name: "after" }, after);
    expect(Object.keys(synthesise(after, "stack-ops").specs)).toEqual(["after.json"]);
  });

  it("may share a stack, providers and access with another", () => {
    const app = anApp();
    const stack = new TerraformStack(app, "both");
    for (const name of ["one", "two"])
      new AgentHost(stack, name, { machine: new LocalMachine(stack, `${name}-machine`), access }).addModel(
        "demo",
        demo,
      );
    expect(Object.keys(synthesise(app, "both").specs)).toEqual(["one.json", "two.json"]);
  });

  it("keeps the type of its machine", () => {
    expect(aHost().machine.generation.rebuild).toBe(0);
  });
});

describe("limits of an agent", () => {
  it("stand in the spec as far as they are given, and each must be a number that can be", () => {
    const host = aHost("ops");
    host.addAgent("small", { limits: { memoryMiB: 512, cpus: 0.5 } });
    host.addAgent("usual");
    const { agents } = host.toSpec();
    expect(agents.small?.limits).toEqual({ memoryMiB: 512, cpus: 0.5 });
    expect(agents.usual).not.toHaveProperty("limits");
    expect(() => host.addAgent("a", { limits: { memoryMiB: 1 } })).toThrow(
      'addAgent("a").limits.memoryMiB: received 1',
    );
    expect(() => host.addAgent("b", { limits: { memory: 1 } as never })).toThrow('addAgent("b").limits');
  });
});
