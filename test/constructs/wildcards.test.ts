import { Annotations, TerraformStack } from "cdktf";
import { describe, expect, it, vi } from "vitest";
import { AgentHost, LocalMachine } from "../../constructs/index.ts";
import { access, anApp } from "./synthesised.ts";

function anAgent() {
  const stack = new TerraformStack(anApp(), "ops");
  const host = new AgentHost(stack, "ops", { machine: new LocalMachine(stack, "machine"), access });
  return { host, agent: host.addAgent("a") };
}

describe("egress by a wildcard", () => {
  it("is granted where one is written, with a warning of what it grants besides", () => {
    const warn = vi.spyOn(Annotations.prototype, "addWarning");
    try {
      const { host, agent } = anAgent();
      agent.allowEgress("api.example.com").allowEgress("*.example.com").allowEgress("*.cdn.example.co.uk");
      expect(host.toSpec().grants.egress.map(({ name }) => name)).toEqual([
        "api.example.com",
        "*.example.com",
        "*.cdn.example.co.uk",
      ]);
      expect(warn.mock.calls.map(([text]) => text)).toEqual([
        expect.stringMatching(
          /^AgentHost "ops": agents\.a\.allowEgress\("\*\.example\.com"\): grants every name of one label before example\.com, and lets/,
        ),
        expect.stringContaining("*.cdn.example.co.uk"),
      ]);
    } finally {
      warn.mockRestore();
    }
  });

  it.each([
    ["*"],
    ["*."],
    ["*.com"],
    ["**.example.com"],
    ["*.*.example.com"],
    ["api.*.example.com"],
    ["a*.example.com"],
    ["*a.example.com"],
    ["*.Example.com"],
    ["*.example.com."],
    ["*.example.com:443"],
    ["https://*.example.com"],
    ["*.10.0.0.1"],
    [`*.${"a.".repeat(94)}test`],
  ])("is refused where it is none of one whole label: %s", (name) => {
    const { host, agent } = anAgent();
    expect(() => agent.allowEgress(name)).toThrow(
      `agents.a.allowEgress: received ${JSON.stringify(name).slice(0, 40)}`,
    );
    expect(() => agent.allowEgress(name)).toThrow("must be a star for one whole label before an exact lower-case name");
    expect(host.toSpec().grants.egress).toEqual([]);
  });

  it.each([
    ["*.co.uk", "co.uk is a registry's"],
    ["*.com.br", "com.br is a registry's"],
    ["*.github.io", "anybody can have a name below github.io"],
    ["*.workers.dev", "workers.dev"],
    ["*.s3.eu-central-1.amazonaws.com", "anybody can have a name below amazonaws.com"],
    ["*.blob.core.windows.net", "windows.net"],
    ["*.azure.com", "cloudapp.azure.com"],
  ])("is refused where strangers have names: %s", (name, why) => {
    const { agent } = anAgent();
    expect(() => agent.allowEgress(name)).toThrow(why);
    expect(() => agent.allowEgress(name)).toThrow("allow each exact name");
  });

  it("is refused on another port, where no server name is seen, and granted once", () => {
    const { agent } = anAgent();
    expect(() => agent.allowEgress("*.example.com", { port: 22 })).toThrow("a wildcard is of TCP 443");
    agent.allowEgress("*.example.com", { port: 443 });
    expect(() => agent.allowEgress("*.example.com")).toThrow('name "*.example.com" to "agent/a" is granted twice');
  });
});
