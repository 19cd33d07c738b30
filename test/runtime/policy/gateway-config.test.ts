import { describe, expect, it } from "vitest";
import { gatewayConfig } from "../../../runtime/policy/models/gateway-config.ts";
import { GatewayConfig } from "../../../runtime/policy/models/schema.ts";
import { principalPort, principalUid } from "../../../runtime/spec/names.ts";
import { SERVICE, sampleSpec } from "../release/render/sample.ts";

const hash = (agent: string) => [agent.charCodeAt(0).toString(16).padEnd(64, "0")];

describe("the gateway's configuration", () => {
  it("has a route for each provider that may be called, and no key of an agent that may call none", () => {
    const spec = sampleSpec((s) => {
      s.grants.invoke = s.grants.invoke.filter(({ agent }) => agent === "ops");
    });
    const config = GatewayConfig.parse(gatewayConfig(spec, hash));
    expect(config.routes.map(({ name }) => name)).toEqual(["claude", "demo"]);
    expect(config.keys).toEqual([{ agent: "ops", sha256: hash("ops") }]);
  });

  it("leads to the provider's url with its key, or to the demo model's port with none", () => {
    const { routes } = gatewayConfig(sampleSpec(), hash);
    expect(routes).toMatchObject([
      { upstream: "https://api.provider.test", credential: "secret.anthropic-key" },
      { upstream: `http://127.0.0.1:${principalPort(principalUid("model/demo"))}`, credential: null },
    ]);
    const slashed = sampleSpec((s) => {
      if (s.models.claude !== undefined) s.models.claude.url = "https://api.provider.test/v9/";
    });
    expect(gatewayConfig(slashed, hash).routes[0]?.upstream).toBe("https://api.provider.test/v9");
  });

  it("leads to a private address as it is written, and to a server on the host at its own port", () => {
    const spec = sampleSpec((s) => {
      Object.assign(s.models.claude ?? {}, { provider: "openai-compatible", url: "http://[fd00::5]:8000" });
      Object.assign(s.models.demo ?? {}, { provider: "openai-compatible", service: SERVICE });
    });
    expect(gatewayConfig(spec, hash).routes).toMatchObject([
      { upstream: "http://[fd00::5]:8000" },
      { upstream: `http://127.0.0.1:${principalPort(principalUid("model/demo"))}`, credential: null, prices: {} },
    ]);
  });

  it("grants each agent its models of each provider", () => {
    const limits = { requestsPerMinute: null, tokensPerMinute: null, concurrentCalls: null };
    expect(gatewayConfig(sampleSpec(), hash).routes.map(({ grants }) => grants)).toEqual([
      [{ agent: "ops", models: ["claude-haiku-4-5", "claude-sonnet-4-6"], limits }],
      [
        { agent: "ops", models: ["demo-1"], limits },
        { agent: "web-hook", models: ["demo-1"], limits },
      ],
    ]);
  });

  it("has a cap for each budget that is set, and a ledger on the data volume", () => {
    const spec = sampleSpec((s) => {
      s.budget = { timeZone: "Europe/Berlin", usdPerDay: null, usdPerMonth: 100 };
      const [grant] = s.grants.invoke;
      if (grant !== undefined) grant.budget = { usdPerDay: 5, usdPerMonth: null };
      if (s.agents.ops !== undefined) s.agents.ops.budget = { usdPerDay: 7, usdPerMonth: null };
      const rates = { input: 3, output: 15, cacheRead: 0.3, cacheWrite: 3.75, cacheWrite1h: 6 };
      for (const id of ["claude-sonnet-4-6", "claude-haiku-4-5"])
        if (s.models.claude !== undefined)
          s.models.claude.prices[id] = { ...rates, above: null, contextTokens: 200_000 };
    });
    const { budgets, routes } = gatewayConfig(spec, hash);
    expect(budgets).toMatchObject({ timeZone: "Europe/Berlin", ledger: "/var/lib/bailiwick/gateway/ledger.db" });
    expect(budgets.caps).toEqual([
      { scope: "host", usdPerDay: null, usdPerMonth: 100 },
      { scope: "agent/ops", usdPerDay: 7, usdPerMonth: null },
      { scope: "grant/ops/claude", usdPerDay: 5, usdPerMonth: null },
    ]);
    expect(routes[0]?.prices["claude-sonnet-4-6"]?.output).toBe(15);
    expect(routes[1]?.prices["demo-1"]?.output).toBe(0);
  });
});
