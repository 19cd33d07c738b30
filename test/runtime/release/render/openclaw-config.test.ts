import { describe, expect, it } from "vitest";
import { hostPrincipals } from "../../../../runtime/policy/egress/principals.ts";
import { openclawConfig } from "../../../../runtime/release/render/openclaw-config.ts";
import type { HostSpec } from "../../../../runtime/spec/host-spec.ts";
import { sampleSpec } from "./sample.ts";

interface Config {
  gateway: { port: number; auth: { token: unknown } };
  models: { providers: Record<string, { baseUrl: string; api: string; models: { id: string }[] }> };
  secrets: { providers: Record<string, { path: string }> };
  agents: { defaults: { workspace: string; model?: { primary: string }; modelPolicy: { allow: string[] } } };
  tools: { fs: { workspaceOnly: boolean }; exec: { security: string } };
}

function config(change?: (spec: HostSpec) => void): Config {
  const spec = sampleSpec(change);
  const ops = hostPrincipals(spec).find(({ id }) => id === "agent/ops");
  if (ops === undefined) throw new Error("the sample has an agent ops");
  return openclawConfig(spec, ops) as Config;
}

describe("OpenClaw's configuration", () => {
  it("reaches each granted provider through the gateway, in its own wire format, with granted models only", () => {
    const { providers } = config().models;
    expect(Object.keys(providers)).toEqual(["claude", "demo"]);
    expect(providers.claude).toMatchObject({ baseUrl: "http://127.0.0.1:4000/claude", api: "anthropic-messages" });
    expect(providers.demo).toMatchObject({ baseUrl: "http://127.0.0.1:4000/demo/v1", api: "openai-completions" });
    expect(providers.claude?.models.map(({ id }) => id)).toEqual(["claude-sonnet-4-6", "claude-haiku-4-5"]);
  });

  it("starts with the first model granted, or the one the spec names", () => {
    expect(config().agents.defaults.model).toEqual({ primary: "claude/claude-sonnet-4-6" });
    const chosen = config((spec) => {
      const runtime = spec.agents.ops?.runtime;
      if (runtime?.kind === "openclaw") runtime.model = { provider: "demo", id: "demo-1" };
    });
    expect(chosen.agents.defaults.model).toEqual({ primary: "demo/demo-1" });
  });

  it("allows what is granted; with nothing granted, nothing, since an empty list would allow all", () => {
    const allowed = ["claude/claude-sonnet-4-6", "claude/claude-haiku-4-5", "demo/demo-1"];
    expect(config().agents.defaults.modelPolicy.allow).toEqual(allowed);
    const none = config((spec) => {
      spec.grants.invoke = [];
    });
    expect(none.agents.defaults.modelPolicy.allow).toHaveLength(1);
    expect(none.agents.defaults.model).toBeUndefined();
    expect(Object.keys(none.secrets.providers)).toEqual(["gateway-token"]);
  });

  it("works in the first workspace it may write, else in a folder of its own", () => {
    expect(config().agents.defaults.workspace).toBe("/workspaces/repo");
    const reader = config((spec) => {
      spec.grants.mount = [{ agent: "ops", workspace: "docs", mode: "ro" }];
    });
    expect(reader.agents.defaults.workspace).toBe("/var/lib/bailiwick/agents/ops/home/workspace");
  });

  it("takes its secrets from files alone and runs no program", () => {
    expect(config().secrets.providers["virtual-key"]?.path).toBe("/run/bailiwick-agent-ops/agent.ops.virtual-key");
    expect(config().gateway.auth.token).toEqual({ source: "file", provider: "gateway-token", id: "value" });
    expect(config().tools).toMatchObject({ fs: { workspaceOnly: true }, exec: { security: "deny" } });
  });
});
