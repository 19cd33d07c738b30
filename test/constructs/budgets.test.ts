import { describe, expect, it } from "vitest";
import { ModelProvider, Secret } from "../../constructs/index.ts";
import { aHost } from "./synthesised.ts";

const anthropic = ModelProvider.anthropic({ apiKey: Secret.fromEnv("ANTHROPIC_API_KEY") });

describe("budgets", () => {
  it("stand in the spec for the grant, the agent, the provider and the host, with the prices of what is granted", () => {
    const host = aHost("ops", { budget: { usdPerMonth: 200, timeZone: "Europe/Berlin" } });
    const agent = host.addAgent("a", { budget: { usdPerDay: 10 } });
    const claude = host.addModel("claude", anthropic, { budget: { usdPerMonth: 100 } });
    claude.grantInvoke(agent, { models: ["claude-sonnet-4-6"], usdPerDay: 5 });
    const spec = host.toSpec();
    expect(spec.budget).toEqual({ usdPerDay: null, usdPerMonth: 200, timeZone: "Europe/Berlin" });
    expect(spec.agents.a?.budget).toEqual({ usdPerDay: 10, usdPerMonth: null });
    expect(spec.models.claude?.budget).toEqual({ usdPerDay: null, usdPerMonth: 100 });
    expect(spec.grants.invoke[0]?.budget).toEqual({ usdPerDay: 5, usdPerMonth: null });
    expect(Object.keys(spec.models.claude?.prices ?? {})).toEqual(["claude-sonnet-4-6"]);
    expect(spec.models.claude?.prices["claude-sonnet-4-6"]).toMatchObject({ input: 3, output: 15, cacheRead: 0.3 });
  });

  it("refuse a model whose price is not known, wherever the budget stands, and take one that the operator sets", () => {
    const url = "https://llm.example.com";
    const host =
      (props: object, agent: object, model: object, grant: object, prices = {}) =>
      () => {
        const ops = aHost("ops", props);
        const lab = ops.addModel("lab", ModelProvider.openAiCompatible({ url, prices }), model);
        lab.grantInvoke(ops.addAgent("a", agent), { models: ["qwen"], ...grant });
        return ops.toSpec();
      };
    const budget = { usdPerDay: 1 };
    const unknown = 'grants.invoke[0].models[0]: received "qwen", whose price is not known';
    expect(host({}, {}, {}, {})).not.toThrow();
    expect(host({}, {}, {}, budget)).toThrow(unknown);
    expect(host({}, {}, { budget }, {})).toThrow(unknown);
    expect(host({}, { budget }, {}, {})).toThrow(unknown);
    expect(host({ budget }, {}, {}, {})).toThrow(unknown);
    const priced = host({}, {}, {}, budget, { qwen: { input: 0.2, output: 0.4 } })();
    expect(priced.models.lab?.prices.qwen).toMatchObject({ input: 0.2, cacheWrite1h: 0.2, output: 0.4, above: null });
  });

  it("prefer the operator's price to the list's, and take the list's highest price above its threshold", () => {
    const prices = { "claude-sonnet-4-6": { input: 1, output: 2 } };
    const ops = aHost("ops");
    const agent = ops.addAgent("a");
    const apiKey = Secret.fromEnv("KEY");
    ops
      .addModel("own", ModelProvider.anthropic({ apiKey, prices }))
      .grantInvoke(agent, { models: ["claude-sonnet-4-6"] });
    ops.addModel("google", ModelProvider.google({ apiKey })).grantInvoke(agent, { models: ["gemini-3-pro-preview"] });
    const { models } = ops.toSpec();
    expect(models.own?.prices["claude-sonnet-4-6"]?.input).toBe(1);
    expect(models.google?.prices["gemini-3-pro-preview"]).toMatchObject({
      ...{ input: 2, output: 12, cacheRead: 0.2 },
      above: { inputTokens: 200_000, input: 4, output: 18 },
    });
  });

  it("limits and a fallback stand in the spec; a fallback must be of one format and granted to the same agents", () => {
    const ops = aHost("ops");
    const agent = ops.addAgent("a");
    const spare = ops.addModel("spare", ModelProvider.openAiCompatible({ url: "https://llm.example.com" }));
    const apiKey = Secret.fromEnv("KEY");
    const main = ops.addModel("main", ModelProvider.openai({ apiKey }), { fallback: spare });
    main.grantInvoke(agent, { models: ["gpt-5.6"], requestsPerMinute: 60, concurrentCalls: 4 });
    expect(() => ops.toSpec()).toThrow(
      'models.main.fallback: received "spare", on which agent "a" is not granted gpt-5.6',
    );
    spare.grantInvoke(agent, { models: ["gpt-5.6"] });
    const spec = ops.toSpec();
    expect(spec.models.main?.fallback).toBe("spare");
    const limits = { requestsPerMinute: 60, tokensPerMinute: null, concurrentCalls: 4 };
    expect(spec.grants.invoke[0]?.limits).toEqual(limits);
    ops.addModel("claude", anthropic, { fallback: spare });
    expect(() => ops.toSpec()).toThrow('models.claude.fallback: received "spare", whose wire format is another');
    const foreign = aHost("other").addModel("spare", ModelProvider.demo());
    expect(() => ops.addModel("x", anthropic, { fallback: foreign })).toThrow(
      'addModel("x").fallback: received "spare"',
    );
  });

  it.each([
    [{ timeZone: "Berlin/Europe" }, 'AgentHost "ops": budget.timeZone: received "Berlin/Europe"; must be a time zone'],
    [{ timeZone: "+02:00" }, "budget.timeZone"],
    [{ usdPerDay: "5" }, "budget.usdPerDay"],
    [{ usdPerWeek: 5 }, "usdPerWeek"],
  ])("refuse %j", (budget, message) => {
    expect(() => aHost("ops", { budget: budget as never })).toThrow(message);
  });
});
