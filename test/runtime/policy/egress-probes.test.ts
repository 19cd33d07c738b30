import { describe, expect, it } from "vitest";
import { egressVerdict } from "../../../runtime/policy/egress/granted-probes.ts";
import { egressProbes } from "../../../runtime/policy/egress/probes.ts";
import type { Outcome, ProbedHost } from "../../../runtime/policy/probe.ts";
import { principalPort, principalUid } from "../../../runtime/spec/names.ts";
import { done, failed, judgeOf, probeOf, sampleSubject } from "./judged.ts";

const subject = sampleSubject();
const probes = egressProbes(subject);
const judge = (id: string) => judgeOf(probes, id);

const line = (principal: string, sni: string, verdict: string) =>
  `egress principal=${principal} sni=${sni} dst=- verdict=${verdict} up=0 down=0 ms=3 end=PR`;

describe("the egress proxy's verdict", () => {
  const log = [
    line("agent/ops", "news.test", "unresolved"),
    line("gateway", "news.test", "unlisted"),
    line("agent/ops", "-", "unlisted"),
    line("agent/ops", "news.test", "allowed"),
    line("agent/ops", "evil.news.test", "unlisted"),
    "proxy bailiwick started",
  ];

  it("is the last one on that principal and that name", () => {
    expect(egressVerdict(log, "agent/ops", "news.test")).toBe("allowed");
    expect(egressVerdict(log, "gateway", "news.test")).toBe("unlisted");
    expect(egressVerdict(log, "agent/ops", "-")).toBe("unlisted");
  });

  it("is none where the log names another principal, or only part of the name", () => {
    expect(egressVerdict(log, "agent/web-hook", "news.test")).toBeNull();
    expect(egressVerdict(log, "agent/ops", "s.test")).toBeNull();
    expect(egressVerdict([], "agent/ops", "news.test")).toBeNull();
  });
});

describe("a name that is not granted", () => {
  const tried = (outcome: Outcome, verdict: string | null) =>
    judge("agent/ops/ungranted-names")([{ name: "other.test", outcome, verdict }]);
  const refused = failed("HANDSHAKE");

  it("is turned away when the proxy says that it is unlisted", () => {
    expect(tried(refused, "unlisted")).toEqual({ verdict: "held", found: "other.test: unlisted" });
  });

  it("is reached by a handshake, or when the proxy let it through and failed later", () => {
    expect(tried(done(), "unlisted").verdict).toBe("broken");
    expect(tried(refused, "unresolved")).toEqual({
      verdict: "broken",
      found: "other.test: the egress proxy let it through, then: unresolved",
    });
  });

  it("is not turned away by the proxy when nothing answers", () => {
    expect(tried(failed("ETIMEDOUT", null, 3000), null).verdict).toBe("broken");
  });

  it("proves nothing when the proxy does not run, or wrote no verdict", () => {
    expect(tried(failed("ECONNREFUSED"), null)).toMatchObject({
      verdict: "unprovable",
      reason: "the egress proxy does not answer, so its list was not tried",
    });
    expect(tried(refused, null).verdict).toBe("unprovable");
  });

  it("is judged the same when there is none at all", () => {
    const noName = judge("agent/ops/no-name");
    expect(noName({ name: "-", outcome: refused, verdict: "unlisted" }).verdict).toBe("held");
    expect(noName({ name: "-", outcome: done(), verdict: null }).verdict).toBe("broken");
  });
});

describe("a granted name", () => {
  const resolved = done(["198.51.100.9"]);
  const resolvers = ["198.51.100.53"];
  const base = {
    ...{ name: "news.test", outcome: failed("HANDSHAKE"), verdict: "allowed" },
    ...{ resolved, byRoot: done(), resolvers },
  };
  const tried = (facts: Partial<typeof base> | { verdict: null }) =>
    judge("agent/ops/name/news.test")({ ...base, ...facts });

  it("is reached by a handshake", () => {
    expect(tried({ outcome: done(), verdict: "allowed" }).verdict).toBe("held");
  });

  it.each([
    [{ outcome: failed("UNRESOLVED") }, "the name does not resolve in the sandbox"],
    [{ outcome: failed("ECONNREFUSED"), verdict: null }, "ECONNREFUSED; the egress proxy logged nothing of it"],
    [{ verdict: "unlisted" }, "the egress proxy turns it away: unlisted"],
    [{ verdict: "private-address" }, "the name leads to an address that is not public"],
    [{ verdict: "only-ipv4" }, expect.stringContaining("the name has IPv4 addresses alone")],
    [{}, "allowed, but no handshake, while root reaches it"],
  ])("is not reached with %o", (facts, found) => {
    expect(tried(facts)).toEqual({ verdict: "broken", found });
  });

  it("proves nothing when the host itself cannot resolve or reach it", () => {
    const unresolved = (value: string, more: object = {}) =>
      tried({ verdict: "unresolved", resolved: failed("UNRESOLVED", value), ...more });
    expect(unresolved("[Errno -3] Temporary failure in name resolution")).toEqual({
      verdict: "unprovable",
      found: "admitted by the egress proxy, then unresolved",
      reason: expect.stringMatching(
        /^the host's name servers \(198\.51\.100\.53\) give no answer: .*; then verify again$/,
      ),
    });
    expect(unresolved("[Errno -2] Name or service not known").reason).toMatch(/know no such name: write it as it is/);
    expect(unresolved("[Errno -3] x", { resolvers: [] }).reason).toMatch(/^the host has no name server: give/);
    expect(tried({ byRoot: failed("ETIMEDOUT", null, 3000) })).toMatchObject({
      verdict: "unprovable",
      reason: "root does not reach it either (no answer, and nothing refused it): the host has no way to it",
    });
  });
});

describe("a wildcard", () => {
  const granted = egressProbes(
    sampleSubject((spec) => {
      spec.grants.egress.push({ principal: "agent/ops", name: "*.wild.test" });
      spec.grants.egress.push({ principal: "gateway", name: "api.wild.test" });
    }),
  );
  const unlisted = (name: string) => ({ name, outcome: failed("HANDSHAKE"), verdict: "unlisted" });
  const base = {
    below: { name: "x.wild.test", outcome: failed("HANDSHAKE"), verdict: "unresolved" },
    resolved: done(["192.0.2.1"]),
    beside: [unlisted("wild.test"), unlisted("x.x.wild.test")],
    deeper: failed("UNRESOLVED"),
  };
  const tried = (facts: object) => judgeOf(granted, "agent/ops/wildcard/*.wild.test")({ ...base, ...facts });

  it("holds when a made-up name below it is admitted, and neither the domain nor what is deeper", () => {
    expect(tried({})).toMatchObject({ verdict: "held" });
    expect(tried({ below: { ...base.below, outcome: done(), verdict: "allowed" } }).verdict).toBe("held");
  });

  it.each([
    [{ below: unlisted("x.wild.test") }, "a made-up name below it: unlisted"],
    [{ resolved: failed("UNRESOLVED") }, "a made-up name below it does not resolve in the sandbox: UNRESOLVED"],
    [{ below: { ...base.below, outcome: failed("ECONNREFUSED"), verdict: null } }, "the egress proxy does not answer"],
    [{ beside: [{ ...unlisted("wild.test"), verdict: "allowed" }] }, "wild.test: the egress proxy let it through"],
    [{ beside: [{ ...unlisted("x.x.wild.test"), outcome: done() }] }, "a name of two labels: reached"],
    [{ deeper: done(["192.0.2.1"]) }, "resolving a name of two labels: allowed"],
  ])("is broken otherwise (%#)", (facts, found) => {
    expect(tried(facts)).toMatchObject({ verdict: "broken", found: expect.stringContaining(found) });
  });

  it("is taken into account where another principal's names are tried, and the resolver is held as all are", async () => {
    const names: (string | null)[] = [];
    const host = {
      as: async (_: unknown, attempt: { do: string; name?: string | null }) => {
        if (attempt.do === "tls") names.push(attempt.name ?? null);
        return failed("EPERM");
      },
      egressLog: async () => [],
    } as unknown as ProbedHost;
    await probeOf(granted, "agent/ops/ungranted-names").read(host);
    expect(names).toEqual([expect.stringMatching(/\.invalid$/), "api.provider.test", "status.provider.test"]);
    const ids = granted.map(({ id }) => id);
    for (const what of ["direct", "dns", "metadata", "ports", "sshd", "bind"])
      expect(ids).toContain(`resolver/${what}`);
  });
});

describe("addresses", () => {
  const compared = (what: string, outcome: Outcome, byRoot: Outcome) => ({ what, outcome, byRoot });
  const refused = failed("EPERM");
  const silence = failed("ETIMEDOUT", null, 3000);

  it("are reached by no principal itself: one that is makes the probe broken", () => {
    const direct = judge("agent/web-hook/direct");
    expect(direct([compared("tcp a:80", refused, silence), compared("udp a:443", refused, done())]).verdict).toBe(
      "held",
    );
    expect(direct([compared("tcp a:80", refused, silence), compared("udp a:443", done(), done())])).toEqual({
      verdict: "broken",
      found: "udp a:443: reached",
    });
  });

  it("of DNS servers: TCP that root is refused as well proves nothing against UDP that is held back", () => {
    const dns = judge("agent/ops/dns");
    const tcp = compared("tcp 198.51.100.53:53", failed("ECONNREFUSED"), failed("ECONNREFUSED"));
    expect(dns([compared("udp 198.51.100.53:53", refused, done()), tcp]).verdict).toBe("held");
    expect(dns([compared("udp 198.51.100.53:53", done(), done()), tcp]).verdict).toBe("broken");
    expect(dns([compared("udp 198.51.100.53:53", refused, refused), tcp]).verdict).toBe("unprovable");
  });

  it("of the cloud's metadata service are refused at once, or lead nowhere", () => {
    const metadata = judge("gateway/metadata");
    expect(metadata([refused, failed("ENETUNREACH")]).verdict).toBe("held");
    expect(metadata([refused, silence])).toMatchObject({ verdict: "broken", found: expect.stringMatching(/^fd00:/) });
    expect(metadata([done(), refused]).verdict).toBe("broken");
  });
});

describe("ports", () => {
  it("of others are those without a grant", () => {
    const of = (id: string) => probeOf(probes, `${id}/ports`).expected;
    // it may call the demo model through the gateway: the gateway's port is granted, the model's own is not
    expect(of("agent/web-hook")).not.toContain("4000");
    expect(of("agent/web-hook")).toContain(String(principalPort(principalUid("agent/ops"))));
    expect(of("model/demo")).toContain("4000");
    // what the gateway counts is nobody's
    for (const id of ["agent/ops", "agent/web-hook", "model/demo"]) expect(of(id)).toContain("4001");
  });

  it("are not granted to a model by the name of an agent that has a grant", () => {
    const namesakes = sampleSubject((spec) => {
      const { demo } = spec.models;
      if (demo !== undefined) spec.models["web-hook"] = { ...demo, uid: principalUid("model/web-hook") };
    });
    expect(probeOf(egressProbes(namesakes), "model/web-hook/ports").expected).toContain("4000");
  });

  it("of others are refused while something listens", () => {
    const ports = judge("model/demo/ports");
    const refused = failed("ECONNREFUSED");
    expect(ports([{ what: "port 4000", outcome: refused, listens: true }]).verdict).toBe("held");
    expect(ports([{ what: "port 4000", outcome: refused, listens: false }]).verdict).toBe("unprovable");
    expect(ports([{ what: "port 4000", outcome: done(), listens: true }]).verdict).toBe("broken");
    expect(ports([]).verdict).toBe("held");
  });

  it("to serve on are one's own alone", () => {
    const bind = judge("agent/ops/bind");
    const refused = failed("EPERM");
    expect(bind([refused, refused, failed("EADDRNOTAVAIL")]).verdict).toBe("held");
    expect(bind([refused, done(), refused])).toEqual({ verdict: "broken", found: "0.0.0.0:8080: allowed" });
    expect(bind([refused, failed("EADDRINUSE"), refused]).verdict).toBe("unprovable");
  });

  it("to be heard on are one's own alone, where systemd cannot refuse a port", () => {
    const older = egressProbes(
      sampleSubject((spec) => {
        spec.os = "debian-12";
      }),
    );
    const bind = judgeOf(older, "agent/ops/bind");
    const tried = (outcome: Outcome, byRoot = done()) => [{ what: "127.0.0.1:8080", outcome, byRoot }];
    expect(bind(tried(failed("TIMEOUT"))).verdict).toBe("held");
    expect(bind(tried(done()))).toEqual({ verdict: "broken", found: "127.0.0.1:8080: allowed" });
    expect(bind(tried(failed("TIMEOUT"), failed("TIMEOUT"))).verdict).toBe("unprovable");
    expect(bind(tried(done(), failed("CANNOT_LISTEN"))).verdict).toBe("unprovable");
  });
});

describe("without any granted name", () => {
  const plain = egressProbes(
    sampleSubject((spec) => {
      spec.grants.egress = [];
      spec.grants.invoke = spec.grants.invoke.filter(({ model }) => model === "demo");
    }),
  );

  it("TCP 443 is tried as well, and there is no egress proxy to ask", () => {
    const ids = plain.map(({ id }) => id);
    expect(ids.filter((id) => /^egress\/|no-name|ungranted-names/.test(id))).toEqual([]);
    expect(ids).toContain("agent/ops/direct");
  });

  it.each([
    [plain, true],
    [probes, false],
  ])("the network is tried on port 443, where no proxy stands before it (%#)", async (of, tried) => {
    const ports: number[] = [];
    const host: ProbedHost = {
      as: async (_principal, attempt) => {
        if (attempt.do === "connect") ports.push(attempt.port);
        return failed("EPERM");
      },
      root: async () => done(),
      reach: async () => ({ outcome: failed("EPERM"), listens: true }),
      egressLog: async () => [],
      resolvers: [],
      listening: [],
    };
    await probeOf(of, "agent/ops/direct").read(host);
    expect(ports.includes(443)).toBe(tried);
  });
});

describe("the egress proxy's log", () => {
  it("is read again for a connection that the proxy took and has not logged yet", async () => {
    const reads = [[], ["egress principal=agent/ops sni=- dst=- verdict=unlisted up=0"]];
    const host: ProbedHost = {
      as: async () => failed("HANDSHAKE"),
      root: async () => done(),
      reach: async () => ({ outcome: failed("EPERM"), listens: true }),
      egressLog: async () => reads.shift() ?? [],
      resolvers: [],
      listening: [],
    };
    expect(await probeOf(probes, "agent/ops/no-name").read(host)).toMatchObject({ verdict: "unlisted" });
  });
});

describe("a port that is granted", () => {
  const granted = sampleSubject((spec) => {
    spec.grants.connect = [{ principal: "agent/ops", host: "git.test", port: 22 }];
  });
  const tried = judgeOf(egressProbes(granted), "agent/ops/connect/git.test/22");
  const base = {
    ...{ outcome: done(), beside: failed("ECONNREFUSED"), verdict: "allowed", end: "--" },
    ...{ resolved: done(["198.51.100.9"]), resolvers: ["198.51.100.53"] },
  };

  it("is reached by the proxy, and the port beside it is not", () => {
    expect(tried(base)).toEqual({ verdict: "held", found: "connected" });
    expect(tried({ ...base, end: "CD" }).verdict).toBe("held");
  });

  it.each([
    [{ beside: done() }, "port 80: reached"],
    [{ beside: failed("ETIMEDOUT", null, 3000) }, "port 80: no answer, and nothing refused it"],
    [{ verdict: "private-address" }, "the name leads to an address that is not public"],
  ])("is broken otherwise (%#)", (facts, found) => {
    expect(tried({ ...base, ...facts })).toEqual({ verdict: "broken", found });
  });

  it("is broken when the proxy takes nothing", () => {
    expect(tried({ ...base, outcome: failed("ECONNREFUSED") }).found).toContain("the egress proxy takes nothing at 3");
  });

  it("proves nothing when nobody is there, or nothing was logged", () => {
    expect(tried({ ...base, end: "SC" })).toMatchObject({
      verdict: "unprovable",
      found: "allowed, and connected to nobody",
    });
    const unresolved = { ...base, verdict: "unresolved", end: "PR" };
    expect(tried(unresolved)).toMatchObject({ verdict: "unprovable", reason: expect.stringContaining("since") });
    const silent = { ...unresolved, resolved: failed("UNRESOLVED", "[Errno -3] Temporary failure in name resolution") };
    expect(tried(silent)).toMatchObject({ verdict: "unprovable", reason: expect.stringContaining("give no answer") });
    expect(tried({ ...base, verdict: null, end: null }).verdict).toBe("unprovable");
  });
});
