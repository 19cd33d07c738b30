import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { buildSync } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nodeBinary } from "../../runtime/bundle/node.ts";
import { renderFirewall } from "../../runtime/policy/egress/firewall.ts";
import { egressForwards, STAND_IN_NETWORK } from "../../runtime/policy/egress/forwards.ts";
import { renderHaproxy } from "../../runtime/policy/egress/haproxy.ts";
import { OWN_RESOLVER, renderHosts } from "../../runtime/policy/egress/hosts.ts";
import { hostPrincipals } from "../../runtime/policy/egress/principals.ts";
import { renderResolver } from "../../runtime/policy/egress/resolver.ts";
import { gatewayConfig } from "../../runtime/policy/models/gateway-config.ts";
import type { GatewayConfig } from "../../runtime/policy/models/schema.ts";
import { sha256 } from "../../runtime/spec/digest.ts";
import type { HostSpec } from "../../runtime/spec/host-spec.ts";
import { GATEWAY_PORT, principalPort, principalUid } from "../../runtime/spec/names.ts";
import { EgressWorld, missingForEgressWorld, WORLD } from "../runtime/policy/egress-world.ts";
import { sampleSpec } from "../runtime/release/render/sample.ts";

const OPS = principalUid("agent/ops");
const WEB_HOOK = principalUid("agent/web-hook");
const GATEWAY = principalUid("gateway");
const EGRESS = principalUid("egress");
const STRANGER = 25999; // in the principals' range, of no release
const NOBODY = 65534;
const SILENCE = 28; // curl: timed out

const NAMES = [
  "news.test",
  "rebind.test",
  "private.test",
  "metadata.test",
  "six.test",
  "six-private.test",
  "mapped.test",
  "nat64.test",
  "gone.test",
];
const CONNECT = [
  ["plain.test", 22],
  ["private.test", 22],
  [WORLD.private4, 80],
  [WORLD.private6, 80],
] as const;
const spec = (change: (spec: HostSpec) => void = () => {}) =>
  sampleSpec((s) => {
    s.access.from = [`${WORLD.adminAddress}/32`];
    s.grants.egress = NAMES.map((name) => ({ principal: "agent/ops", name }));
    s.grants.connect = CONNECT.map(([host, port]) => ({ principal: "agent/ops", host, port }));
    change(s);
  });
const firewall = (s: HostSpec) => renderFirewall(s, hostPrincipals(s), [WORLD.dns]);
const haproxy = (s: HostSpec) => renderHaproxy(hostPrincipals(s), [WORLD.dns], false);
const HOSTS = renderHosts(NAMES, egressForwards(spec()));
const frontend = (host: string) => egressForwards(spec()).find((forward) => forward.host === host)?.frontend;
const PORTS = [
  22,
  GATEWAY_PORT,
  principalPort(OPS),
  principalPort(WEB_HOOK),
  principalPort(principalUid("model/demo")),
];

const missing = missingForEgressWorld();
if (missing !== undefined) console.log(`not run: egress tests: ${missing}`);

describe.skipIf(missing !== undefined)("egress by nft and HAProxy, in network namespaces", () => {
  let world: EgressWorld;
  beforeAll(async () => {
    world = await EgressWorld.start(PORTS);
  });
  afterAll(() => world?.close());

  const curl = (uid: number, ...args: string[]) =>
    world.run(uid, ["curl", "--silent", "--insecure", "--noproxy", "*", "--max-time", "4", ...args], HOSTS);
  /** A TLS request for a name, sent to an address of the caller's choice. */
  const tls = (uid: number, name: string, address: string) =>
    curl(uid, "--resolve", `${name}:443:${address.includes(":") ? `[${address}]` : address}`, `https://${name}/`);
  const tcp = (uid: number, address: string, port: number) =>
    curl(uid, `http://${address.includes(":") ? `[${address}]` : address}:${port}/`);
  const udp = (uid: number, address: string, port: number) =>
    world.run(uid, [process.execPath, "-e", UDP, address, String(port)]);
  /** Every verdict the proxy's log has on a server name, once. */
  const verdicts = async (sni: string) => {
    const lines = await world.logged(` sni=${sni} `);
    return [...new Set(lines.map((line) => /verdict=(\S+)/.exec(line)?.[1]))];
  };

  /** What an agent may not do, each by a way that works as long as no rule is loaded. */
  const attacks = (uid: number): Record<string, () => { status: number; stdout: string }> => ({
    "TCP 443 to a public address, another name": () => tls(uid, "unlisted.test", WORLD.public4),
    "TCP 443 to a public address, no name": () => curl(uid, `https://${WORLD.public4}/`),
    "TCP 443 by IPv6, another name": () => tls(uid, "unlisted.test", WORLD.public6),
    "TCP 443, a subdomain of a granted name": () => tls(uid, "sub.news.test", WORLD.public4),
    "TCP 443 to the metadata address": () => tls(uid, "unlisted.test", WORLD.metadata4),
    "TCP 80": () => tcp(uid, WORLD.public4, 80),
    "TCP 80 by IPv6": () => tcp(uid, WORLD.public6, 80),
    "TCP 22": () => tcp(uid, WORLD.public4, 22),
    "TCP 22 at a private address": () => tcp(uid, WORLD.private4, 22),
    "metadata by IPv4": () => tcp(uid, WORLD.metadata4, 80),
    "metadata by IPv6": () => tcp(uid, WORLD.metadata6, 80),
    "UDP 443": () => udp(uid, WORLD.public4, 443),
    "UDP 443 by IPv6": () => udp(uid, WORLD.public6, 443),
    "DNS at the upstream resolver": () => udp(uid, WORLD.dns, 53),
    "sshd on loopback": () => tcp(uid, "127.0.0.1", 22),
    "sshd on loopback by IPv6": () => tcp(uid, "::1", 22),
    "sshd by the host's own address": () => tcp(uid, WORLD.hostAddress, 22),
    "another agent's port": () => tcp(uid, "127.0.0.1", principalPort(uid === OPS ? WEB_HOOK : OPS)),
    "the demo model without the gateway": () => tcp(uid, "127.0.0.1", principalPort(principalUid("model/demo"))),
  });

  it("control: without rules, every attack works", () => {
    for (const [name, attempt] of Object.entries(attacks(OPS))) expect(attempt(), name).toMatchObject({ status: 0 });
    expect(tls(OPS, "rebind.test", WORLD.private4).stdout).toContain("served by 10.20.30.40");
  });

  describe("with the release's rules", () => {
    beforeAll(async () => {
      world.loadFirewall(firewall(spec()));
      await world.loadHaproxy(haproxy(spec()));
    });

    it("a granted name works, by its own /etc/hosts and towards a forged address", async () => {
      expect(curl(OPS, "https://news.test/").stdout).toBe(`served by ${WORLD.public4} as news.test`);
      expect(await verdicts("news.test")).toEqual(["allowed"]);
      expect(tls(OPS, "news.test", WORLD.private4).stdout).toBe(`served by ${WORLD.public4} as news.test`);
      expect(tls(OPS, "NEWS.test", "192.0.2.1").status).toBe(0);
      expect(tls(OPS, "news.test", WORLD.private6).stdout, "dialled by IPv6").toContain("as news.test");
    });

    it("a granted name that has only an IPv6 address is reached there", () => {
      expect(curl(OPS, "https://six.test/").stdout).toBe(`served by ${WORLD.public6} as six.test`);
    });

    it("a granted name that leads to no public address is refused, whatever it was dialled as", async () => {
      for (const name of [
        "rebind.test",
        "private.test",
        "metadata.test",
        "six-private.test",
        "mapped.test",
        "nat64.test",
      ]) {
        expect(tls(OPS, name, WORLD.public4).status, name).not.toBe(0);
        expect(await verdicts(name), name).toEqual(["private-address"]);
      }
      expect(tls(OPS, "gone.test", WORLD.public4).status).not.toBe(0);
      expect(await verdicts("gone.test")).toEqual(["unresolved"]);
    });

    it.each([
      ["agent with names", OPS],
      ["agent without names", WEB_HOOK],
    ])("%s: every attack is refused at once", async (_, uid) => {
      for (const [name, attempt] of Object.entries(attacks(uid))) {
        const { status } = attempt();
        expect(status, name).not.toBe(0);
        expect(status, `${name}: refused, not met with silence`).not.toBe(SILENCE);
      }
      expect(await verdicts("unlisted.test")).toEqual(["unlisted"]);
      expect(await verdicts("sub.news.test")).toEqual(["unlisted"]);
    });

    it("a name granted to one principal is no other's", () => {
      expect(tls(GATEWAY, "api.provider.test", WORLD.public4).stdout).toContain("as api.provider.test");
      expect(tls(OPS, "api.provider.test", WORLD.public4).status).not.toBe(0);
      expect(tls(GATEWAY, "news.test", WORLD.public4).status).not.toBe(0);
      expect(tls(WEB_HOOK, "news.test", WORLD.public4).status).not.toBe(0);
      expect(tls(OPS, "api.provider.test", "127.0.0.1").status, "at an address of the host").not.toBe(0);
      const frontend = ["--connect-to", `api.provider.test:443:127.0.0.1:${GATEWAY}`, "https://api.provider.test/"];
      expect(curl(OPS, ...frontend).status, "at the gateway's own frontend").not.toBe(0);
      expect(curl(GATEWAY, ...frontend).status, "control: the gateway at its frontend").toBe(0);
    });

    it("a granted port of a name, and of a private address, is reached by whom it is granted to, and no other port", async () => {
      expect(curl(OPS, "http://plain.test:22/").stdout).toBe(`served by ${WORLD.public4} as -`);
      expect(await verdicts("plain.test/22")).toEqual(["allowed"]);
      expect(tcp(OPS, WORLD.private4, 80).stdout).toBe(`served by ${WORLD.private4} as -`);
      expect(tcp(OPS, WORLD.private6, 80).stdout).toBe(`served by ${WORLD.private6} as -`);
      expect(await verdicts(`${WORLD.private6}/80`)).toEqual(["allowed"]);
      for (const [uid, url] of [
        [OPS, "http://plain.test:80/"],
        [OPS, "http://news.test:22/"],
        [OPS, `http://${WORLD.private4}:22/`],
        [WEB_HOOK, "http://plain.test:22/"],
        [WEB_HOOK, `http://${WORLD.private4}:80/`],
        [WEB_HOOK, `http://127.0.0.1:${frontend(WORLD.private4)}/`],
        [GATEWAY, `http://${WORLD.private4}:80/`],
        [NOBODY, `http://127.0.0.1:${frontend(WORLD.private4)}/`],
      ] as const)
        expect(curl(uid, url).status, `${uid} ${url}`).not.toBe(0);
      expect(
        curl(OPS, `http://127.0.0.1:${frontend(WORLD.private4)}/`).status,
        "control: the owner at the frontend",
      ).toBe(0);
    });

    it("a model server at a private address is called by the gateway, through the egress proxy, and by nobody else", async () => {
      const hashOf = () => [sha256("virtual-key")];
      const lab = spec((s) => {
        const url = `http://${WORLD.private4}:80`;
        Object.assign(s.models.claude ?? {}, { provider: "openai-compatible", url, apiKey: null });
      });
      const config = gatewayConfig(lab, hashOf);
      Object.assign(config, {
        keys: config.keys.slice(0, 1),
        listen: { host: "127.0.0.1", port: 4002, adminPort: 4003 },
      });
      for (const route of config.routes) route.grants = route.grants.filter(({ agent }) => agent === "ops");
      config.budgets.ledger = ":memory:";
      const gateway = world.background(GATEWAY, await gatewayProgram(world.folder, config));
      await gateway.says('"msg":"started"');
      const body = JSON.stringify({ model: "claude-haiku-4-5", messages: [] });
      const call = ["-H", "authorization: Bearer virtual-key", "-H", "content-type: application/json", "-d", body];
      const answer = () => curl(0, ...call, "http://127.0.0.1:4002/claude/v1/chat/completions").stdout;
      try {
        expect(answer(), "by the rules of a release without it").toContain("upstream_unreachable");
        world.loadFirewall(firewall(lab));
        await world.loadHaproxy(haproxy(lab));
        expect(answer()).toBe(`served by ${WORLD.private4} as -`);
        expect(tcp(WEB_HOOK, WORLD.private4, 80).status).not.toBe(0);
      } finally {
        gateway.end();
      }
      expect((await world.logged(`principal=gateway sni=${WORLD.private4}/80 `)).join()).toContain("verdict=allowed");
      world.loadFirewall(firewall(spec()));
      await world.loadHaproxy(haproxy(spec()));
    });

    it("a granted port of a name that leads to a private address is refused", async () => {
      expect(curl(OPS, "http://private.test:22/").status).not.toBe(0);
      expect(await verdicts("private.test/22")).toEqual(["private-address"]);
    });

    it("what is not TLS is refused without waiting, and a ClientHello in pieces is admitted", () => {
      const { status } = tcp(OPS, WORLD.public4, 443);
      expect(status).not.toBe(0);
      expect(status).not.toBe(SILENCE);
      expect(world.run(OPS, [process.execPath, "-e", PIECES, "192.0.2.1"]).stdout).toContain("as news.test");
    });

    it("a server name cannot forge a line of the log", async () => {
      world.run(OPS, [process.execPath, "-e", FORGED, "192.0.2.1"]);
      expect(await world.logged("sni=x%0Aforged")).toHaveLength(1);
      expect(world.log.filter((line) => line.startsWith("forged"))).toEqual([]);
    });

    it("a granted name is none before a zero byte, and what follows it is not resolved either", async () => {
      for (const name of ["news.test\0", "news.test\0.c2vjcmv0.test", "news.test\0c2vjcmv0"]) {
        const tried = world.run(OPS, [process.execPath, "-e", RAW_NAME, "192.0.2.1", encodeURIComponent(name)]);
        expect(tried.stdout.trim(), JSON.stringify(name)).toBe("turned away");
        expect(await verdicts(encodeURIComponent(name)), JSON.stringify(name)).toEqual(["unlisted"]);
      }
      expect(world.log.filter((line) => line.includes("query[") && line.includes("c2vjcmv0"))).toEqual([]);
    });

    it("loopback ports are the owner's, those it granted, and root's", () => {
      const reach = (port: number) =>
        [0, OPS, WEB_HOOK, GATEWAY, EGRESS, STRANGER, NOBODY].filter((uid) => tcp(uid, "127.0.0.1", port).status === 0);
      expect(reach(GATEWAY_PORT)).toEqual([0, OPS, WEB_HOOK, GATEWAY]);
      expect(reach(principalPort(OPS))).toEqual([0, OPS]);
      expect(reach(principalPort(principalUid("model/demo")))).toEqual([0, GATEWAY]);
      expect(reach(22)).toEqual([0, NOBODY]);
    });

    it("a uid of the range that the release does not know reaches nothing; other users are left alone, but for metadata", () => {
      expect(tls(STRANGER, "news.test", WORLD.public4).status).not.toBe(0);
      expect(tcp(STRANGER, WORLD.public6, 80).status).not.toBe(0);
      expect(udp(STRANGER, WORLD.dns, 53).status).not.toBe(0);
      expect(tcp(STRANGER, "127.0.0.1", 22).status).not.toBe(0);
      expect(tcp(NOBODY, WORLD.public4, 80).status).toBe(0);
      expect(tls(NOBODY, "unlisted.test", WORLD.public4).status).toBe(0);
      expect(tcp(NOBODY, WORLD.metadata4, 80).status).not.toBe(0);
      expect(tcp(NOBODY, WORLD.metadata6, 80).status).not.toBe(0);
      expect(tcp(0, WORLD.metadata4, 80).status).toBe(0);
    });

    it("the egress proxy itself reaches public 443 and its resolver, nothing else", () => {
      expect(tls(EGRESS, "unlisted.test", WORLD.public4).status).toBe(0);
      expect(udp(EGRESS, WORLD.dns, 53).status).toBe(0);
      expect(udp(EGRESS, WORLD.public4, 443).status).not.toBe(0);
      expect(tcp(EGRESS, WORLD.public4, 80).status).not.toBe(0);
      for (const address of [WORLD.private4, WORLD.metadata4, WORLD.private6, WORLD.metadata6])
        expect(tls(EGRESS, "unlisted.test", address).status, address).not.toBe(0);
    });

    it("sshd is reached from the admins' networks alone", () => {
      const from = (source: string) =>
        world.outside(["curl", "-s", "--interface", source, "--max-time", "1", `http://${WORLD.hostAddress}:22/`]);
      expect(from(WORLD.adminAddress).status).toBe(0);
      expect(from(WORLD.strangerAddress).status).toBe(SILENCE);
    });

    it("refusals are counted, for probes to read", () => {
      const counted = () => {
        const chain = world.run(0, ["nft", "list", "chain", "inet", "bailiwick", "agent_ops"]).stdout;
        return Number(/counter packets (\d+)/.exec(chain)?.[1]);
      };
      const before = counted();
      tcp(OPS, WORLD.public4, 80);
      expect(counted()).toBe(before + 1);
    });

    describe("a wildcard", () => {
      const wild = (...granted: string[]) =>
        spec((s) => {
          for (const name of granted) s.grants.egress.push({ principal: "agent/ops", name });
        });
      const load = async (s: HostSpec) => {
        world.loadFirewall(firewall(s));
        await world.loadHaproxy(haproxy(s));
        await world.loadResolver(renderResolver(hostPrincipals(s)));
      };
      /** As the principal's own programs do: by its resolver, with no address given. */
      const own = (...args: string[]) =>
        world.run(
          OPS,
          ["curl", "--silent", "--insecure", "--noproxy", "*", "--max-time", "4", ...args],
          HOSTS,
          OWN_RESOLVER,
        );
      const lookup = (name: string) => world.run(OPS, ["getent", "ahosts", name], HOSTS, OWN_RESOLVER);
      beforeAll(() => load(wild("*.wild.test")));
      afterAll(() => load(spec()));

      it("is every name of one label before it, in any case", async () => {
        expect(own("https://a.wild.test/").stdout).toBe(`served by ${WORLD.public4} as a.wild.test`);
        expect(own("https://B.Wild.TEST/").status).toBe(0);
        expect(tls(OPS, "b.wild.test", WORLD.private6).stdout, "dialled by IPv6").toContain("as b.wild.test");
        expect(await verdicts("a.wild.test")).toEqual(["allowed"]);
        expect(own("https://news.test/").stdout, "an exact name beside it").toContain("as news.test");
      });

      it("is admitted, and what is beside it turned away, also while no name server answers: so verify proves it", async () => {
        const [granted, nobody] = [hostPrincipals(wild("*.wild.test")), ["203.0.113.99"]];
        world.loadFirewall(renderFirewall(wild("*.wild.test"), granted, nobody));
        await world.loadHaproxy(renderHaproxy(granted, nobody, false));
        try {
          for (const name of ["silent.wild.test", "silent.a.wild.test", "silent.test"])
            expect(tls(OPS, name, WORLD.public4).status).not.toBe(0);
          // as patiently as the probe
          for (let i = 0; i < 75 && (await verdicts("silent.wild.test")).length === 0; i++) await sleep(100);
          expect(await verdicts("silent.wild.test")).toEqual(["unresolved"]);
          for (const name of ["silent.a.wild.test", "silent.test"]) expect(await verdicts(name)).toEqual(["unlisted"]);
        } finally {
          await load(wild("*.wild.test"));
        }
      });

      it.each(["wild.test", "a.b.wild.test", "awild.test", "late.test"])("is not %s", async (name) => {
        expect(lookup(name).status).not.toBe(0);
        expect(tls(NOBODY, name, WORLD.public4).status, "control: who is held by no rule").toBe(0);
        expect(tls(OPS, name, WORLD.public4).status).not.toBe(0);
        expect(await verdicts(name)).toEqual(["unlisted"]);
      });

      it("is no name that is not well formed, whatever its end", async () => {
        const said = (name: string) =>
          world.run(OPS, [process.execPath, "-e", RAW_NAME, "192.0.2.1", encodeURIComponent(name)]).stdout.trim();
        expect(said("a.wild.test"), "control").toBe("admitted");
        const names = ["a.wild.test.", ".wild.test", "-a.wild.test", "a_b.wild.test", "a\n.wild.test", "a.wild.test\n"];
        names.push("a\0.wild.test", "a.wild.test\0.wild.test", "a b.wild.test", `${"x".repeat(64)}.wild.test`);
        for (const name of names) {
          expect(said(name), JSON.stringify(name)).toBe("turned away");
          expect(await verdicts(encodeURIComponent(name)), JSON.stringify(name)).toEqual(["unlisted"]);
        }
      });

      it("has in its label a-z, 0-9 and hyphens within, of all bytes that there are", async () => {
        const said = world.run(OPS, [process.execPath, "-e", BYTES, "192.0.2.1"]).stdout.trim();
        expect(said, "bytes whose verdict could not be tried").toBe("256");
        await world.logged(" sni=x%FFy.wild.test ");
        const admitted = new Set<string>();
        for (const line of world.log) {
          const [, label, verdict] = / sni=x(\S+)y\.wild\.test .*verdict=(\S+)/.exec(line) ?? [];
          if (label !== undefined && verdict !== "unlisted") admitted.add(decodeURIComponent(label));
        }
        expect([...admitted].sort().join("")).toBe("-0123456789abcdefghijklmnopqrstuvwxyz");
      });

      it("leads to no address that is not public", async () => {
        expect(tls(OPS, "private.wild.test", WORLD.public4).status).not.toBe(0);
        expect(await verdicts("private.wild.test")).toEqual(["private-address"]);
      });

      it("is nobody else's, nor is the port that answers for it", () => {
        expect(tls(WEB_HOOK, "a.wild.test", WORLD.public4).status).not.toBe(0);
        expect(tls(GATEWAY, "a.wild.test", WORLD.public4).status).not.toBe(0);
        for (const uid of [WEB_HOOK, GATEWAY, STRANGER, NOBODY])
          expect(udp(uid, "127.0.0.1", OPS).status, `${uid}`).not.toBe(0);
        expect(udp(OPS, "127.0.0.1", OPS).status, "control: its own").toBe(0);
        expect(udp(0, "127.0.0.1", OPS).status, "control: root").toBe(0);
      });

      it("carries nothing out of the host by a question alone, but by a connection that the proxy admits", async () => {
        expect(lookup("asked.wild.test").stdout).toContain("192.0.2.1");
        expect(lookup("asked.other.test").status).not.toBe(0);
        expect(tls(OPS, "said.b.wild.test", WORLD.public4).status).not.toBe(0);
        expect(tls(OPS, "said.wild.test", WORLD.public4).status).not.toBe(0);
        expect(await world.logged(" said.wild.test "), "the channel that remains").not.toEqual([]);
        const asked = world.log.filter((line) => / query\[\w+\] (asked|said)\./.test(line));
        expect(asked.filter((line) => !line.includes("] said.wild.test from "))).toEqual([]);
        expect(
          world.run(NOBODY, [process.execPath, "-e", QUESTION, WORLD.dns]).status,
          "control: who may ask by DNS",
        ).toBe(0);
        expect(await world.logged("] control.wild.test from ")).not.toEqual([]);
      });

      it("comes and goes by reloads, which leave what is still granted alone", async () => {
        const hold = async (name: string) => {
          const connection = world.background(OPS, [process.execPath, "-e", HOLD_TLS, name]);
          await connection.says("open");
          return connection;
        };
        const [below, exact] = [await hold("a.wild.test"), await hold("news.test")];
        await load(wild("*.wild.test", "*.news.test"));
        expect(lookup("sub.news.test").stdout).toContain("192.0.2.1");
        expect(own("https://sub.news.test/").stdout).toContain("as sub.news.test");
        below.write("again\n");
        await below.says("alive");
        await load(wild());
        await below.says("cut");
        exact.write("again\n");
        await exact.says("alive");
        expect(tls(OPS, "a.wild.test", WORLD.public4).status).not.toBe(0);
        expect(lookup("a.wild.test").status).not.toBe(0);
        await load(wild("*.wild.test"));
        expect(own("https://a.wild.test/").status).toBe(0);
        exact.end();
      });
    });

    describe("on a host with a way to IPv6 alone", () => {
      const dual = spec((s) => {
        s.grants.egress.push({ principal: "agent/ops", name: "both.test" });
        s.grants.connect.push({ principal: "agent/ops", host: "both.test", port: 22 });
      });
      const load = async (ipv6Only: boolean) => {
        world.loadFirewall(renderFirewall(dual, hostPrincipals(dual), [WORLD.dns6]));
        await world.loadHaproxy(renderHaproxy(hostPrincipals(dual), [WORLD.dns6], ipv6Only));
      };
      const route = (verb: string) =>
        expect(world.run(0, ["ip", "route", verb, "default", "via", WORLD.adminAddress]).status).toBe(0);
      const own = (url: string) =>
        world.run(
          OPS,
          ["curl", "-sk", "--noproxy", "*", "--max-time", "9", url],
          renderHosts(["both.test", "news.test"], egressForwards(dual)),
        );
      // as the proxy's unit makes them there
      const placeholders = (verb: string) => {
        for (const network of ["192.0.2.1/32", STAND_IN_NETWORK])
          world.run(0, ["ip", "route", verb, network, "dev", "lo"]);
      };
      beforeAll(() => route("del"));
      afterAll(async () => {
        route("add");
        placeholders("del");
        world.loadFirewall(firewall(spec()));
        await world.loadHaproxy(haproxy(spec()));
      });

      it("controls: by what one that has both is given, a name with addresses of both is not reached", async () => {
        await load(false);
        expect(own("https://both.test/").status, "without a route for what stands for it").not.toBe(0);
        expect(await world.logged(" sni=both.test ")).toEqual([]);
        placeholders("replace");
        expect(own("https://both.test/").status, "by IPv4 first").not.toBe(0);
        expect(await world.logged(` sni=both.test dst=${WORLD.public4} `)).not.toEqual([]);
      });

      it("a name is reached by IPv6, and one that has IPv4 alone is said to be one", async () => {
        await load(true);
        expect(own("https://both.test/").stdout).toBe(`served by ${WORLD.public6} as both.test`);
        expect(own("http://both.test:22/").stdout).toBe(`served by ${WORLD.public6} as -`);
        const known = world.log.length;
        expect(own("https://news.test/").status).not.toBe(0);
        expect(own("http://plain.test:22/").status).not.toBe(0);
        await world.logged("sni=plain.test/22 dst=198.51.100.10 verdict=only-ipv4");
        const verdictOf = (sni: string) => world.log.slice(known).find((line) => line.includes(` sni=${sni} `));
        expect(verdictOf("news.test")).toContain("verdict=only-ipv4");
        expect(verdictOf("plain.test/22")).toContain("verdict=only-ipv4");
      });
    });

    it("every frontend listens as before after reloads, on both families", async () => {
      for (let i = 0; i < 3; i++) await world.loadHaproxy(haproxy(spec()));
      for (const address of ["192.0.2.1", WORLD.private6]) {
        expect(tls(OPS, "news.test", address).stdout, address).toContain("as news.test");
        expect(tls(GATEWAY, "api.provider.test", address).stdout, address).toContain("as api.provider.test");
      }
    });

    it("a connection outlives reloads as long as its grant, and ends with it", async () => {
      const without = (...names: string[]) =>
        spec((s) => {
          s.grants.egress = s.grants.egress.filter(({ name }) => !names.includes(name));
        });
      const load = async (s: HostSpec) => {
        world.loadFirewall(firewall(s));
        await world.loadHaproxy(haproxy(s));
      };
      const connection = world.background(OPS, [process.execPath, "-e", HOLD_TLS, "news.test"]);
      await connection.says("open");
      await load(without("gone.test"));
      await load(without("gone.test", "nat64.test"));
      await load(spec());
      connection.write("again\n");
      await connection.says("alive");
      const undecided = world.background(OPS, [process.execPath, "-e", LATE_TLS, "news.test"]);
      await undecided.says("waits");
      await load(without("news.test"));
      await connection.says("cut");
      undecided.write("now\n");
      await undecided.says("cut");
      expect(tls(OPS, "six.test", "192.0.2.1").stdout, "what is still granted").toContain("as six.test");
    });

    it("a grant that is taken back ends at once, also within a connection that stands", async () => {
      const less = spec((s) => {
        s.grants.invoke = s.grants.invoke.filter(({ agent }) => agent !== "ops");
        s.grants.egress = [{ principal: "agent/ops", name: "late.test" }];
      });
      const connection = world.background(OPS, [process.execPath, "-e", HOLD, String(GATEWAY_PORT)]);
      await connection.says("open");
      world.loadFirewall(firewall(less));
      await world.loadHaproxy(haproxy(less));
      connection.write("again\n");
      await connection.says("cut");
      expect(tcp(OPS, "127.0.0.1", GATEWAY_PORT).status).not.toBe(0);
      expect(tls(OPS, "news.test", WORLD.public4).status).not.toBe(0);
      expect(tls(OPS, "late.test", WORLD.public4).stdout).toContain("as late.test");
    });
  });
});

/** The gateway as it runs on a host: its bundle and its own Node.js. @returns argv */
async function gatewayProgram(folder: string, config: GatewayConfig): Promise<string[]> {
  const [node, script, file] = ["node", "gateway.cjs", "gateway.json"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  copyFileSync(await nodeBinary(), node); // from a cache that is root's alone
  const entryPoints = ["runtime/host/model-gateway/main.ts"];
  buildSync({ entryPoints, outfile: script, bundle: true, platform: "node", format: "cjs", logLevel: "error" });
  writeFileSync(file, JSON.stringify(config));
  return [node, script, file];
}

const UDP = `
const [, address, port] = process.argv;
const socket = require("dgram").createSocket(address.includes(":") ? "udp6" : "udp4");
setTimeout(() => process.exit(28), 3000);
socket.on("error", () => process.exit(2)).on("message", () => process.exit(0));
const question = Buffer.from("000101000001000000000000046e6577730474657374000001 0001".replaceAll(" ", ""), "hex");
socket.connect(Number(port), address, () => socket.send(question));
`;

// a TLS client whose first flight leaves in two pieces, with a pause between them
const PIECES = `
const net = require("net"), tls = require("tls"), { Duplex } = require("stream");
const socket = net.connect(443, process.argv[1]);
let first = true;
const pieces = new Duplex({
  read() {},
  write(chunk, _, done) {
    if (!first) return socket.write(chunk, done);
    first = false;
    socket.setNoDelay(true);
    socket.write(chunk.subarray(0, 40));
    setTimeout(() => socket.write(chunk.subarray(40), done), 300);
  },
});
socket.on("data", (data) => pieces.push(data)).on("end", () => pieces.push(null)).on("error", () => process.exit(1));
const client = tls.connect({ socket: pieces, servername: "news.test", rejectUnauthorized: false });
client.on("secureConnect", () => client.write("GET / HTTP/1.1\\r\\n\\r\\n"));
client.on("data", (data) => { console.log(String(data)); process.exit(0); }).on("error", () => process.exit(1));
setTimeout(() => process.exit(3), 4000);
`;

// openssl refuses such a name, so the ClientHello is written by hand around it
const FORGED = `
const u16 = (n) => Buffer.from([n >> 8, n & 255]);
const sized = (bytes) => Buffer.concat([u16(bytes.length), bytes]);
const name = Buffer.from("x\\nforged principal=gateway verdict=allowed");
const sni = Buffer.concat([u16(0), sized(sized(Buffer.concat([Buffer.from([0]), sized(name)])))]);
const body = Buffer.concat([u16(0x303), Buffer.alloc(32), Buffer.from([0]), sized(u16(0x1301)), Buffer.from([1, 0]), sized(sni)]);
const hello = Buffer.concat([Buffer.from([1, 0]), sized(body)]);
const socket = require("net").connect(443, process.argv[1], () => socket.write(Buffer.concat([Buffer.from([22, 3, 1]), sized(hello)])));
socket.on("close", () => process.exit(0)).on("error", () => {});
setTimeout(() => process.exit(3), 3000);
`;

const QUESTION = `
const resolver = new (require("dns").promises.Resolver)({ timeout: 2000, tries: 1 });
resolver.setServers([process.argv[1]]);
resolver.resolve4("control.wild.test").catch(({ code }) => process.exit(code === "ENOTFOUND" ? 0 : 1));
`;

// a ClientHello for a name that TLS libraries would refuse or change; says whether a server answers its handshake
const HELLO = `
const u16 = (n) => Buffer.from([n >> 8, n & 255]);
const sized = (bytes) => Buffer.concat([u16(bytes.length), bytes]);
const hello = (name) => {
  const sni = Buffer.concat([u16(0), sized(sized(Buffer.concat([Buffer.from([0]), sized(name)])))]);
  const groups = Buffer.concat([u16(10), sized(sized(u16(23)))]), points = Buffer.concat([u16(11), sized(Buffer.from([1, 0]))]);
  const signatures = Buffer.concat([u16(13), sized(sized(Buffer.from("040308040403", "hex")))]);
  const extensions = Buffer.concat([sni, groups, points, signatures]);
  const body = Buffer.concat([u16(0x303), Buffer.alloc(32, 7), Buffer.from([0]), sized(u16(0xc02b)), Buffer.from([1, 0]), sized(extensions)]);
  return Buffer.concat([Buffer.from([22, 3, 1]), sized(Buffer.concat([Buffer.from([1, 0]), sized(body)]))]);
};
`;
// one connection for each byte in the middle of a label; says how many were taken
const BYTES = `${HELLO}
(async () => {
  let taken = 0;
  for (let start = 0; start < 256; start += 32)
    await Promise.all(Array.from({ length: 32 }, (_, i) => new Promise((done) => {
      const name = Buffer.concat([Buffer.from("x"), Buffer.from([start + i]), Buffer.from("y.wild.test")]);
      const socket = require("net").connect(443, process.argv[1], () => { taken += 1; socket.write(hello(name)); });
      socket.on("error", () => {}).on("close", done);
    })));
  console.log(taken);
})();
`;
const RAW_NAME = `${HELLO}
const [, address, text] = process.argv;
const socket = require("net").connect(443, address, () => socket.write(hello(Buffer.from(decodeURIComponent(text)))));
const end = (word) => { console.log(word); process.exit(0); };
socket.on("data", (data) => end(data[0] === 22 ? "admitted" : "alert")).on("error", () => {}).on("close", () => end("turned away"));
setTimeout(() => end("silence"), 3000);
`;

const HOLD_TLS = `
const socket = require("tls").connect({ host: "192.0.2.1", port: 443, servername: process.argv[1], rejectUnauthorized: false });
socket.once("secureConnect", () => socket.write("hello"));
socket.once("data", () => { console.log("open"); socket.on("data", () => console.log("alive")); });
socket.on("error", () => {}).on("close", () => console.log("cut"));
process.stdin.on("data", () => socket.write("more"));
setTimeout(() => process.exit(3), 30000);
`;

// connects at once, and says which name it wants when it is told to
const LATE_TLS = `
const raw = require("net").connect(443, "192.0.2.1", () => console.log("waits"));
raw.on("error", () => {}).on("close", () => console.log("cut"));
process.stdin.once("data", () => {
  const socket = require("tls").connect({ socket: raw, servername: process.argv[1], rejectUnauthorized: false });
  socket.on("secureConnect", () => console.log("admitted")).on("error", () => console.log("cut"));
});
setTimeout(() => process.exit(3), 30000);
`;

const HOLD = `
const socket = require("net").connect(Number(process.argv[1]), "127.0.0.1", () => socket.write("hello"));
socket.once("data", () => console.log("open"));
socket.on("error", () => console.log("cut"));
process.stdin.on("data", () => socket.write("more"));
setTimeout(() => process.exit(3), 8000);
`;
