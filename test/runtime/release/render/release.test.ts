import { describe, expect, it } from "vitest";
import type { ReleaseInput } from "../../../../runtime/release/render/input.ts";
import { renderRelease } from "../../../../runtime/release/render/release.ts";
import { requiredComponents, requiredCredentials } from "../../../../runtime/release/render/requirements.ts";
import type { HostSpec } from "../../../../runtime/spec/host-spec.ts";
import { releaseDigest } from "../../../../runtime/spec/manifest.ts";
import { sampleInput, sampleSpec } from "./sample.ts";

const release = (change?: (spec: HostSpec) => void, input: (input: ReleaseInput) => ReleaseInput = (i) => i) =>
  renderRelease(input(sampleInput(sampleSpec(change))));
const base = release();
const content = (path: string, of = base) => of.files.find((file) => file.path === path)?.content ?? "";

/** What a switch from the base release to another one touches, as the activator judges it. */
function difference(other: ReturnType<typeof renderRelease>) {
  const before = new Map(base.files.map(({ path, content }) => [path, content]));
  const after = new Map(other.files.map(({ path, content }) => [path, content]));
  const changed = [...new Set([...before.keys(), ...after.keys()])].filter(
    (path) => before.get(path) !== after.get(path),
  );
  const units = changed.filter((path) => path.startsWith("units/") && !path.includes("-probe@"));
  return {
    files: changed.filter((path) => !path.startsWith("units/") && path !== "manifest.json").sort(),
    units: [...new Set(units.map((path) => path.split("/")[1]?.replace(/\.service.*/, "")))].sort(),
  };
}

describe("a release", () => {
  it("is the same, byte for byte, for the same input, in whatever order it was written", () => {
    const turned = (record: object) => Object.fromEntries(Object.entries(record).reverse());
    const again = release(
      (spec) => {
        for (const part of ["agents", "models", "workspaces", "secrets"] as const)
          (spec as Record<string, unknown>)[part] = turned(spec[part]);
        spec.access.admins = turned(spec.access.admins) as HostSpec["access"]["admins"];
      },
      (input) => ({ ...input, components: turned(input.components) as Record<string, string> }),
    );
    expect(again.files).toEqual(base.files);
    expect(again.digest).toBe(base.digest);
  });

  it("has the digest of its files, in its manifest too, and plain paths only", () => {
    expect(base.digest).toBe(releaseDigest(base.files));
    expect(JSON.parse(content("manifest.json"))).toEqual(base.manifest);
    for (const { path } of base.files) expect(path).toMatch(/^[A-Za-z0-9@._-]+(\/[A-Za-z0-9@._-]+)*$/);
    expect(base.files.map(({ path }) => path)).toEqual([...new Set(base.files.map(({ path }) => path))].sort());
  });

  it("names what it needs: keys of providers that may be called and no others, and what the host makes", () => {
    expect(requiredCredentials(sampleSpec())).toEqual({
      secrets: ["anthropic-key"],
      generated: ["agent.ops.gateway-token", "agent.ops.virtual-key", "agent.web-hook.virtual-key"],
    });
    expect(requiredComponents(sampleSpec())).toEqual([
      "activator",
      "command-web-hook",
      "demo-model",
      "model-gateway",
      "node",
      "openclaw-2026.9.6",
    ]);
  });

  it("says what is missing of it", () => {
    const without = (part: "components" | "credentials" | "generated", key: string) => () =>
      release(undefined, (input) => ({
        ...input,
        [part]: Object.fromEntries(Object.entries(input[part]).filter(([name]) => name !== key)),
      }));
    expect(without("components", "node")).toThrow("components.node: received undefined; build that component first");
    expect(without("credentials", "secret.anthropic-key")).toThrow(
      "credentials.secret.anthropic-key: received undefined",
    );
    expect(without("generated", "agent.ops.virtual-key")).toThrow(
      "generated.agent.ops.virtual-key: received undefined",
    );
    expect(() => release(undefined, (input) => ({ ...input, resolvers: [] }))).toThrow(
      "resolvers: received []; names are granted, so the host needs an upstream DNS resolver",
    );
  });

  it("holds no secret and no text of a key, only its hash", () => {
    const all = base.files.map(({ content }) => content).join("\n");
    expect(all).toContain(sampleInput().generated["agent.ops.virtual-key"]?.sha256);
    expect(all).not.toContain("ANTHROPIC_API_KEY");
  });
});

describe("what a change touches", () => {
  it("nothing, when nothing that is rendered changed", () => {
    expect(difference(release((spec) => (spec.timeouts.healthSeconds = 99)))).toEqual({ files: [], units: [] });
  });

  it("a name granted to one agent: firewall, proxy, that agent's hosts and unit, and nobody else's", () => {
    const grant = { principal: "agent/ops", name: "added.test" };
    expect(difference(release((spec) => spec.grants.egress.push(grant)))).toEqual({
      files: ["etc/agents/ops/hosts", "etc/egress/haproxy.cfg"],
      units: ["bailiwick-agent-ops"],
    });
  });

  it("a first name granted to an agent: the proxy only reloads", () => {
    const grant = { principal: "agent/web-hook", name: "added.test" };
    expect(difference(release((spec) => spec.grants.egress.push(grant)))).toEqual({
      files: ["etc/agents/web-hook/hosts", "etc/egress/haproxy.cfg", "etc/firewall.nft"],
      units: ["bailiwick-agent-web-hook"],
    });
    expect(base.manifest.units[0]).toMatchObject({
      name: "bailiwick-egress.service",
      reload: ["etc/egress/haproxy.cfg"],
    });
  });

  it("a first wildcard: what answers for it, and that agent", () => {
    const grant = { principal: "agent/ops", name: "*.example.com" };
    expect(difference(release((spec) => spec.grants.egress.push(grant)))).toEqual({
      files: [
        "etc/egress/haproxy.cfg",
        "etc/firewall.nft",
        "etc/resolv-wildcard.conf",
        "etc/resolver/hosts",
        "etc/resolver/names.json",
        "etc/resolver/resolver.py",
        "etc/sysusers.conf",
      ],
      units: ["bailiwick-agent-ops", "bailiwick-resolver"],
    });
  });

  it("another wildcard of the same agent: the proxy and the resolver only reload, and nothing restarts", () => {
    const with_ = (...names: string[]) =>
      release((spec) => spec.grants.egress.push(...names.map((name) => ({ principal: "agent/ops", name }))));
    const [one, two] = [with_("*.example.com"), with_("*.example.com", "*.example.net")];
    const of = ({ files }: typeof one) => new Map(files.map(({ path, content: text }) => [path, text]));
    const changed = [...of(two)].filter(([path, text]) => of(one).get(path) !== text).map(([path]) => path);
    expect(changed).toEqual(["etc/egress/haproxy.cfg", "etc/resolver/names.json", "manifest.json"]);
    const reload = (kind: string) => two.manifest.units.find(({ principal }) => principal === kind)?.reload;
    expect([reload("egress"), reload("resolver")]).toEqual([["etc/egress/haproxy.cfg"], ["etc/resolver/names.json"]]);
  });

  it("a model granted: that agent, and the gateway only reloads", () => {
    const grow = (spec: HostSpec) => spec.grants.invoke[0]?.models.push("claude-opus-5");
    expect(difference(release(grow))).toEqual({
      files: ["etc/agents/ops/openclaw.json", "etc/gateway/gateway.json"],
      units: ["bailiwick-agent-ops"],
    });
    expect(base.manifest.units.find(({ principal }) => principal === "gateway")).toMatchObject({
      reload: ["etc/gateway/gateway.json"],
    });
  });

  it("budgets, limits and prices: the gateway's file alone, which it takes by a reload", () => {
    const changes: ((spec: HostSpec) => void)[] = [
      (spec) => (spec.budget.timeZone = "Europe/Berlin"),
      (spec) => {
        const grant = spec.grants.invoke.find(({ agent }) => agent === "web-hook");
        if (grant !== undefined) grant.limits = { ...grant.limits, concurrentCalls: 3 };
      },
      (spec) => {
        const claude = spec.models.claude;
        const rates = { input: 3, output: 15, cacheRead: 1, cacheWrite: 3, cacheWrite1h: 6 };
        if (claude !== undefined)
          claude.prices = { "claude-sonnet-4-6": { ...rates, above: null, contextTokens: 200_000 } };
      },
    ];
    for (const change of changes)
      expect(difference(release(change))).toEqual({ files: ["etc/gateway/gateway.json"], units: [] });
  });

  it("an admin or a network: files alone, no unit", () => {
    const change = (spec: HostSpec) => {
      spec.access.from = ["198.51.100.0/24"];
      delete spec.access.admins.bob;
    };
    expect(difference(release(change))).toEqual({ files: ["etc/firewall.nft", "etc/ssh/bob"], units: [] });
  });

  it("resolvers: firewall and a reload of the proxy", () => {
    expect(difference(release(undefined, (input) => ({ ...input, resolvers: ["198.51.100.54"] })))).toEqual({
      files: ["etc/egress/haproxy.cfg", "etc/firewall.nft"],
      units: [],
    });
  });

  it("a component: the units that run it", () => {
    const other = (name: string) => (input: ReleaseInput) => ({
      ...input,
      components: { ...input.components, [name]: "f".repeat(64) },
    });
    expect(difference(release(undefined, other("model-gateway"))).units).toEqual(["bailiwick-gateway"]);
    expect(difference(release(undefined, other("command-web-hook"))).units).toEqual(["bailiwick-agent-web-hook"]);
    expect(difference(release(undefined, other("activator"))).units).toEqual([]);
  });

  it("a secret's version: the gateway; a virtual key's: its agent, and the gateway reloads", () => {
    const version = "f".repeat(32);
    const rotated = release(undefined, (input) => ({ ...input, credentials: { "secret.anthropic-key": version } }));
    expect(difference(rotated)).toEqual({ files: [], units: ["bailiwick-gateway"] });
    const key = { "agent.web-hook.virtual-key": { version, sha256: "e".repeat(64) } };
    const renewed = release(undefined, (input) => ({ ...input, generated: { ...input.generated, ...key } }));
    expect(difference(renewed)).toEqual({
      files: ["etc/gateway/gateway.json"],
      units: ["bailiwick-agent-web-hook"],
    });
  });
});

describe("the manifest", () => {
  it("lists units in the order they start, each with its chain and where it says that it is ready", () => {
    expect(base.manifest.units.map(({ name, chain, ready }) => [name, chain, ready?.path ?? null])).toEqual([
      ["bailiwick-egress.service", "egress_proxy", null],
      ["bailiwick-model-demo.service", "model_demo", "/healthz"],
      ["bailiwick-gateway.service", "model_gateway", "/healthz"],
      ["bailiwick-agent-ops.service", "agent_ops", "/readyz"],
      ["bailiwick-agent-web-hook.service", "agent_web_hook", "/healthz"],
    ]);
    for (const { name, chain } of base.manifest.units) {
      expect(content(`units/${name}`)).toContain(`ExecStartPre=+/usr/lib/bailiwick/require-table ${chain}\n`);
      expect(content("etc/firewall.nft")).toContain(`  chain ${chain} {\n`);
    }
  });

  it("gives every credential that a unit loads, with its version", () => {
    const loaded = base.files.flatMap(({ content }) => [
      ...content.matchAll(/^LoadCredentialEncrypted=([^:]+):(\S+)$/gm),
    ]);
    expect(new Set(loaded.map((match) => match[2]))).toEqual(
      new Set(
        base.manifest.credentials.map(({ name, version }) => `/etc/bailiwick/credentials/${name}/${version}.cred`),
      ),
    );
    expect(base.manifest.credentials.map(({ name }) => name)).not.toContain("secret.unused");
  });

  it("has parents before children, and each workspace with the agents that see it", () => {
    const paths = base.manifest.directories.map(({ path }) => path);
    for (const [i, path] of paths.entries()) {
      const parent = path.split("/").slice(0, -1).join("/");
      expect(parent === "/var/lib/bailiwick" || paths.indexOf(parent) < i, path).toBe(true);
    }
    expect(base.manifest.acls).toEqual([
      { path: "/var/lib/bailiwick/workspaces/docs", user: "bw-agent-ops", mode: "ro" },
      { path: "/var/lib/bailiwick/workspaces/repo", user: "bw-agent-ops", mode: "rw" },
      { path: "/var/lib/bailiwick/workspaces/docs", user: "bw-agent-web-hook", mode: "rw" },
    ]);
  });

  it("says how an agent is asked", () => {
    expect(base.manifest.agents.map(({ name, ask }) => [name, ask])).toEqual([
      ["ops", { path: "/v1/chat/completions", model: "openclaw/default", credential: "agent.ops.gateway-token" }],
      ["web-hook", null],
    ]);
  });
});

describe("a host with less", () => {
  it("has no gateway without a model and no egress proxy without a name", () => {
    const bare = release((spec) => {
      spec.models = {};
      spec.grants = { invoke: [], mount: [], egress: [], connect: [] };
    });
    expect(bare.manifest.units.map(({ name }) => name)).toEqual([
      "bailiwick-agent-ops.service",
      "bailiwick-agent-web-hook.service",
    ]);
    expect(bare.files.map(({ path }) => path).filter((path) => /egress|gateway|model/.test(path))).toEqual([]);
    expect(content("etc/firewall.nft", bare)).not.toContain("redirect to");
    expect(content("units/bailiwick-agent-ops.service", bare)).not.toContain("Wants=");
    expect(content("units/bailiwick-agent-ops.service.d/50-sandbox.conf", bare)).toContain("IPAddressDeny=any\n");
  });

  it("is still a release with no agent at all", () => {
    const empty = release((spec) => {
      spec.agents = {};
      spec.models = {};
      spec.grants = { invoke: [], mount: [], egress: [], connect: [] };
    });
    expect(empty.manifest.units).toEqual([]);
    expect(content("etc/firewall.nft", empty)).toContain("meta skuid 20000-29999 counter jump refuse");
  });
});
