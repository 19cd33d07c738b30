import { describe, expect, it } from "vitest";
import { gatewayConfig } from "../../../runtime/policy/models/gateway-config.ts";
import { modelProbes } from "../../../runtime/policy/models/probes.ts";
import type { GatewayConfig } from "../../../runtime/policy/models/schema.ts";
import { sha256 } from "../../../runtime/spec/digest.ts";
import { done, failed, judgeOf, sampleSubject } from "./judged.ts";

const subject = sampleSubject();
const probes = modelProbes(subject);

it("there is a probe for each model an agent may call, and none for any other", () => {
  expect(probes.map(({ id }) => id)).toEqual([
    "agent/ops/model/claude",
    "agent/ops/model/demo",
    "agent/web-hook/model/demo",
    "root/gateway-grants",
    "root/gateway-in-force",
  ]);
});

describe("a granted model", () => {
  const judge = judgeOf(probes, "agent/ops/model/claude");

  it("is reached when the gateway asks for a key", () => {
    expect(judge(done(401))).toEqual({ verdict: "held", found: "401" });
  });

  it("is open to anyone when the gateway serves a key that is none, and not reached when it does not answer", () => {
    expect(judge(done(200))).toEqual({ verdict: "broken", found: "200 to a key that is none" });
    expect(judge(done(404)).verdict).toBe("broken");
    expect(judge(failed("ECONNREFUSED"))).toEqual({
      verdict: "broken",
      found: "the gateway did not answer: ECONNREFUSED",
    });
  });
});

describe("the gateway's configuration on the host", () => {
  const judge = judgeOf(probes, "root/gateway-grants");
  const read = (change: (config: GatewayConfig) => void) => {
    const config = structuredClone(gatewayConfig(subject.spec, () => ["a".repeat(64)]));
    change(config);
    return judge(done(JSON.stringify(config)));
  };

  it("is as granted whatever the hashes of its keys, which only the host knows", () => {
    expect(read(() => {})).toEqual({ verdict: "held", found: "as granted" });
  });

  it("grants too much with one more model, key or route", () => {
    const more = read((config) => config.routes[0]?.grants[0]?.models.push("claude-opus-4-6"));
    expect(more).toMatchObject({ verdict: "broken", found: expect.stringContaining("claude-opus-4-6") });
    expect(read((config) => config.keys.push({ agent: "mallory", sha256: ["b".repeat(64)] }))).toEqual({
      verdict: "broken",
      found: "keys of ops, web-hook, mallory",
    });
    const twice = (config: GatewayConfig) => {
      config.routes.push(...config.routes.slice(0, 1).map((route) => ({ ...route, name: "other" })));
    };
    expect(read(twice)).toMatchObject({ verdict: "broken", found: expect.stringContaining('"name":"other"') });
  });

  it("lacks what is granted, leads elsewhere or listens elsewhere", () => {
    expect(read((config) => config.routes.pop())).toEqual({ verdict: "broken", found: "missing: demo" });
    const elsewhere = (config: GatewayConfig) => {
      for (const route of config.routes) route.upstream = "https://elsewhere.test";
    };
    expect(read(elsewhere).verdict).toBe("broken");
    const everywhere = (config: GatewayConfig) => Object.assign(config.listen, { port: 4001 });
    expect(read(everywhere)).toEqual({ verdict: "broken", found: "it listens at 127.0.0.1:4001" });
  });

  it("is broken when it cannot be read, and proves nothing in another format", () => {
    expect(judge(failed("ENOENT")).verdict).toBe("broken");
    expect(judge(done("{")).verdict).toBe("unprovable");
    expect(judge(done('{"routes":[]}')).verdict).toBe("unprovable");
  });
});

describe("the configuration that the gateway goes by", () => {
  const judge = judgeOf(probes, "root/gateway-in-force");
  const file = done('{"listen":{}}');
  const says = (text: string) => judge({ file, status: done(`{"config":"${sha256(text)}","providers":[]}`) });

  it("is the file, or an older one", () => {
    expect(says('{"listen":{}}').verdict).toBe("held");
    expect(says("older")).toEqual({ verdict: "broken", found: `another: ${sha256("older").slice(0, 12)}` });
    expect(judge({ file, status: done("{}") })).toEqual({ verdict: "broken", found: "another: none" });
  });

  it("is not known while the gateway does not answer, and nothing to go by if there is no file", () => {
    expect(judge({ file, status: failed("ECONNREFUSED") }).verdict).toBe("unprovable");
    expect(judge({ file: failed("ENOENT"), status: done("{}") }).verdict).toBe("broken");
  });
});
