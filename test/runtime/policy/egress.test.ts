import { describe, expect, it } from "vitest";
import { renderFirewall } from "../../../runtime/policy/egress/firewall.ts";
import { egressForwards } from "../../../runtime/policy/egress/forwards.ts";
import { renderHaproxy } from "../../../runtime/policy/egress/haproxy.ts";
import { renderHosts } from "../../../runtime/policy/egress/hosts.ts";
import { egressNames } from "../../../runtime/policy/egress/names.ts";
import { hostPrincipals } from "../../../runtime/policy/egress/principals.ts";
import type { HostSpec } from "../../../runtime/spec/host-spec.ts";
import { sampleSpec } from "../release/render/sample.ts";

const firewall = (change?: (spec: HostSpec) => void, resolvers = ["198.51.100.53"]) => {
  const spec = sampleSpec(change);
  return renderFirewall(spec, hostPrincipals(spec), resolvers);
};
/** Lines of one chain, but for its braces. */
const chain = (text: string, name: string) =>
  new RegExp(`^ {2}chain ${name} \\{\\n([\\s\\S]*?)^ {2}\\}`, "m")
    .exec(text)?.[1]
    ?.trimEnd()
    .split("\n")
    .map((l) => l.trim());

describe("names", () => {
  it("of the gateway: the hosts of providers that may be called, and what it was granted", () => {
    expect(egressNames(sampleSpec(), "gateway")).toEqual(["api.provider.test", "status.provider.test"]);
  });

  it("stand exactly in a principal's hosts, all at one address that is never reached", () => {
    expect(renderHosts(["a.test", "b.test"]).trim().split("\n").slice(2)).toEqual([
      "192.0.2.1 a.test",
      "192.0.2.1 b.test",
    ]);
    expect(() => renderHosts(["a.test\n127.0.0.1 b.test"])).toThrow("hostsName received");
  });
});

describe("the firewall", () => {
  it("lets an agent reach the gateway only if it may call a model", () => {
    expect(chain(firewall(), "agent_web_hook")).toContain("ip daddr 127.0.0.1 tcp dport { 4000, 15167 } accept");
    const without = firewall((spec) => {
      spec.grants.invoke = spec.grants.invoke.filter(({ agent }) => agent !== "web-hook");
    });
    expect(chain(without, "agent_web_hook")?.[0]).toBe("ip daddr 127.0.0.1 tcp dport { 15167 } accept");
  });

  it("has the proxy's questions to DNS leave from a fresh port on a local machine, whose network forgets old ones", () => {
    const rule = "meta skuid 20000 udp dport 53 masquerade fully-random";
    expect(chain(firewall(), "from_egress")?.at(-1)).toBe(rule);
    const elsewhere = firewall((spec) => {
      spec.machine = {
        kind: "existing",
        address: "203.0.113.40",
        user: "root",
        hostKey: spec.access.admins.ada?.publicKey ?? "",
        dataDevice: "data",
        adopt: false,
      };
    });
    expect(elsewhere).not.toContain("masquerade");
  });

  it("ends every principal's chain in a counted refusal", () => {
    for (const name of ["egress_proxy", "model_demo", "model_gateway", "agent_ops", "agent_web_hook"])
      expect(chain(firewall(), name)?.at(-1), name).toBe("counter jump refuse");
  });

  it("gives the resolvers to the egress proxy alone, before what is not public", () => {
    const text = firewall(undefined, ["10.0.0.2", "fd00::53", "fe80::1%eth0"]);
    const lines = chain(text, "egress_proxy") ?? [];
    expect(lines[0]).toBe("ip daddr 10.0.0.2 meta l4proto { tcp, udp } th dport 53 accept");
    expect(lines[1]).toBe("ip6 daddr fd00::53 meta l4proto { tcp, udp } th dport 53 accept");
    expect(text.match(/th dport 53/g)).toHaveLength(2);
  });

  it("admits the operator's forward, which a virtual local machine sees as its gateway", () => {
    const virtual = firewall((spec) => {
      Object.assign(spec.machine, { engine: "qemu" });
    });
    expect(virtual).toMatch(/elements = \{[^}]*\b203\.0\.113\.7\/32[^}]*\}/);
    expect(virtual).toMatch(/elements = \{[^}]*\b10\.77\.1\.1\/32[^}]*\}/);
    expect(firewall()).not.toContain("10.77.1.1");
  });

  it("admits sshd from the spec's networks, each family in its own set", () => {
    expect(firewall()).toContain("elements = { 203.0.113.0/24, 203.0.113.7/32 }");
    expect(firewall()).toContain("elements = { 2001:db8:7::/48 }");
    const v6 = firewall((spec) => {
      spec.access.from = ["2001:db8::/32"];
    });
    expect(v6.match(/elements =/g)).toHaveLength(1);
  });

  it("redirects only those that have a name to reach", () => {
    expect(
      chain(firewall(), "to_egress")
        ?.filter((line) => line.includes("redirect"))
        .map((l) => l.split(" ")[2]),
    ).toEqual(["20001", "20001", "26167", "26167"]);
  });
});

describe("the egress proxy's configuration", () => {
  it("has no regular expression: HAProxy would compile it, and its sandbox has no memory to write and run", () => {
    const spec = sampleSpec((s) => s.grants.egress.push({ principal: "agent/ops", name: "*.wild.test" }));
    const text = renderHaproxy(hostPrincipals(spec), ["198.51.100.53"], false);
    expect(text).toContain("acl zone var(sess.zone) -m str wild.test");
    expect(text.replaceAll(/^ *#.*$/gm, "")).not.toMatch(/-m reg|_reg\b|regsub|replace-/);
  });

  it("has one frontend per principal with names, each with its own names alone", () => {
    const text = renderHaproxy(hostPrincipals(sampleSpec()), ["198.51.100.53"], false);
    const [, gateway = "", ops = ""] = text.split(/^frontend /m);
    expect(gateway).toMatch(/^model_gateway\n/);
    expect(ops).toMatch(/^agent_ops\n/);
    expect(ops).toContain("-m str news.test\n");
    expect(gateway).not.toContain("news.test");
    expect(ops).not.toContain("api.provider.test");
  });

  it("writes IPv6 resolvers so that their port is not taken for a part of the address", () => {
    const text = renderHaproxy(hostPrincipals(sampleSpec()), ["2001:db8::53", "198.51.100.53"], false);
    expect(text).toContain("nameserver dns1 198.51.100.53:53\n  nameserver dns2 [2001:db8::53]:53\n");
  });
});

describe("a port of a name, and one of an address", () => {
  const connect = [
    { principal: "agent/ops", host: "git.test", port: 22 },
    { principal: "agent/ops", host: "10.20.30.40", port: 5432 },
    { principal: "agent/ops", host: "fd00::5", port: 5432 },
  ];
  const spec = sampleSpec((s) => {
    s.grants.connect = connect;
  });
  const forwards = egressForwards(spec);
  const of = (host: string) => forwards.find((forward) => forward.host === host);

  it("have each a frontend of their own, and a name an address that stands for it", () => {
    expect(new Set(forwards.map(({ frontend }) => frontend)).size).toBe(3);
    for (const { frontend } of forwards) expect(frontend).toSatisfy((port: number) => port >= 30000 && port <= 32767);
    expect(of("git.test")?.dialled).toMatch(/^198\.1[89]\./);
    expect(of("fd00::5")?.dialled).toBe("fd00::5");
    expect(renderHosts(["a.test", "git.test"], forwards)).toContain(
      `192.0.2.1 a.test\n${of("git.test")?.dialled} git.test\n`,
    );
  });

  it("keep theirs whatever else is granted", () => {
    const more = sampleSpec((s) => {
      s.grants.connect = [
        { principal: "agent/ops", host: "a.test", port: 1 },
        { principal: "agent/web-hook", host: "git.test", port: 22 },
        ...connect,
      ];
    });
    expect(egressForwards(more)).toEqual(expect.arrayContaining(forwards));
  });

  it("are redirected for whom they are granted to, before its TCP 443 is", () => {
    const text = renderFirewall(spec, hostPrincipals(spec), ["198.51.100.53"]);
    const redirects = chain(text, "to_egress")?.filter((line) => line.includes("redirect")) ?? [];
    expect(redirects.slice(0, 3)).toEqual([
      `meta skuid 26167 ip daddr 10.20.30.40 tcp dport 5432 redirect to :${of("10.20.30.40")?.frontend}`,
      `meta skuid 26167 ip6 daddr fd00::5 tcp dport 5432 redirect to :${of("fd00::5")?.frontend}`,
      `meta skuid 26167 ip daddr ${of("git.test")?.dialled} tcp dport 22 redirect to :${of("git.test")?.frontend}`,
    ]);
    const proxy = chain(text, "egress_proxy") ?? [];
    expect(proxy).toContain("ip daddr 10.20.30.40 tcp dport 5432 accept");
    expect(proxy).toContain("tcp dport { 22, 443 } accept");
    expect(chain(text, "agent_web_hook")?.join()).not.toContain(String(of("git.test")?.frontend));
  });

  it("of a provider by address are the gateway's as soon as some agent may call it, and no one's name", () => {
    const at = (url: string, granted = true) =>
      sampleSpec((s) => {
        Object.assign(s.models.claude ?? {}, { provider: "openai-compatible", url });
        if (!granted) s.grants.invoke = s.grants.invoke.filter(({ model }) => model !== "claude");
      });
    expect(egressForwards(at("http://10.20.30.40:8000/llm"))).toMatchObject([
      { principal: "gateway", host: "10.20.30.40", port: 8000, dialled: "10.20.30.40" },
    ]);
    expect(egressForwards(at("https://[fd00::5]"))).toMatchObject([
      { principal: "gateway", host: "fd00::5", port: 443 },
    ]);
    expect(egressNames(at("http://10.20.30.40:8000"), "gateway")).toEqual(["status.provider.test"]);
    expect(egressForwards(at("http://10.20.30.40:8000", false))).toEqual([]);
  });

  it("need an egress proxy also where no name is granted by TLS", () => {
    const bare = sampleSpec((s) => {
      s.models = {};
      s.grants = { invoke: [], mount: [], egress: [], connect };
    });
    expect(hostPrincipals(bare).map(({ kind }) => kind)).toContain("egress");
    expect(renderHaproxy(hostPrincipals(bare), ["198.51.100.53"], false).match(/^frontend /gm)).toHaveLength(3);
  });
});
