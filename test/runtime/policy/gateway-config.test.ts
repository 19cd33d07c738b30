import { describe, expect, it } from "vitest";
import { gatewayConfig } from "../../../runtime/policy/models/gateway-config.ts";
import { GatewayConfig } from "../../../runtime/policy/models/schema.ts";
import { principalPort, principalUid } from "../../../runtime/spec/names.ts";
import { sampleSpec } from "../release/render/sample.ts";

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

  it("grants each agent its models of each provider", () => {
    expect(gatewayConfig(sampleSpec(), hash).routes.map(({ grants }) => grants)).toEqual([
      [{ agent: "ops", models: ["claude-haiku-4-5", "claude-sonnet-4-6"] }],
      [
        { agent: "ops", models: ["demo-1"] },
        { agent: "web-hook", models: ["demo-1"] },
      ],
    ]);
  });
});
