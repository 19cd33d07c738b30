import { describe, expect, it } from "vitest";
import { renderRelease } from "../../../../runtime/release/render/release.ts";
import type { HostSpec } from "../../../../runtime/spec/host-spec.ts";
import { principalPort, principalUid } from "../../../../runtime/spec/names.ts";
import { SERVICE, sampleInput, sampleSpec } from "./sample.ts";

const files = (change?: (spec: HostSpec) => void) =>
  new Map(renderRelease(sampleInput(sampleSpec(change))).files.map(({ path, content }) => [path, content]));
const base = files((spec) => spec.grants.egress.push({ principal: "agent/ops", name: "*.wild.test" }));
const unit = (name: string, of = base) => of.get(`units/bailiwick-${name}.service`) ?? "";
const sandbox = (name: string, of = base) => of.get(`units/bailiwick-${name}.service.d/50-sandbox.conf`) ?? "";
const UNITS = ["egress", "resolver", "gateway", "model-demo", "agent-ops", "agent-web-hook"];

describe("every unit", () => {
  it.each(UNITS)("%s: no firewall, no principal", (name) => {
    expect(unit(name)).toContain("\nBindsTo=bailiwick-firewall.service\nAfter=bailiwick-firewall.service\n");
    expect(unit(name)).toMatch(/\nX-Bailiwick-Config=[0-9a-f]{64}\n[\s\S]*\n\[Service\]/);
  });

  it.each(UNITS)("%s: crashing again and again ends in failure, not in a restart for ever", (name) => {
    expect(unit(name)).toContain("\nStartLimitIntervalSec=300\nStartLimitBurst=5\n");
    expect(unit(name)).toContain("\nRestart=on-failure\n");
  });

  it.each(UNITS)("%s: its probes have its sandbox and nothing of its secrets", (name) => {
    expect(base.get(`units/bailiwick-${name}-probe@.service.d/50-sandbox.conf`)).toBe(sandbox(name));
    const probe = base.get(`units/bailiwick-${name}-probe@.service`) ?? "";
    expect(probe).toContain("BindsTo=bailiwick-firewall.service");
    expect(probe).not.toContain("LoadCredential");
    const ids = (text: string, key: string) =>
      [...text.matchAll(new RegExp(`^${key}=([^:]+):`, "gm"))].map((m) => m[1]);
    expect(ids(probe, "SetCredential")).toEqual(ids(unit(name), "LoadCredentialEncrypted"));
  });

  it.each(UNITS)("%s: a probe's end takes nothing of the unit's with it", (name) => {
    expect(sandbox(name)).not.toMatch(/^(RuntimeDirectory|StateDirectory|ExecStart|Type)=/m);
  });

  it.each(UNITS)("%s: sees of the disk what it was given", (name) => {
    for (const hidden of ["/opt:ro", "/run:ro", "/var/lib/bailiwick:ro", "/etc/bailiwick:ro"])
      expect(sandbox(name)).toMatch(new RegExp(`^TemporaryFileSystem=.* ${hidden}( |$)`, "m"));
    expect(sandbox(name)).not.toContain("/etc/bailiwick/credentials");
    expect(sandbox(name)).toContain("\nCapabilityBoundingSet=\n");
    expect(sandbox(name)).toContain("\nSocketBindDeny=any\n");
  });
});

describe("an OpenClaw agent", () => {
  it("has its configuration, its workspaces and its runtime, and none of another agent's", () => {
    const text = sandbox("agent-ops");
    expect(text).toContain("BindReadOnlyPaths=/opt/bailiwick/current/etc/agents/ops:/etc/bailiwick/agent\n");
    expect(text).toContain("BindPaths=/var/lib/bailiwick/workspaces/repo:/workspaces/repo\n");
    expect(text).toContain("BindReadOnlyPaths=/var/lib/bailiwick/workspaces/docs:/workspaces/docs\n");
    expect(text).not.toContain("web-hook");
    for (const bound of ["/var/lib/bailiwick/agents/ops", "/workspaces/repo", "/workspaces/docs"])
      expect(text).toMatch(new RegExp(`^NoExecPaths=${bound}( |$)`, "m"));
  });

  it("is not given what breaks it: RestrictSUIDSGID, an address filter beside a granted name", () => {
    expect(sandbox("agent-ops")).not.toContain("RestrictSUIDSGID");
    expect(sandbox("agent-ops")).not.toContain("IPAddressDeny");
    expect(sandbox("agent-web-hook")).toContain("RestrictSUIDSGID=yes");
    expect(sandbox("agent-web-hook")).toContain("IPAddressDeny=any\nIPAddressAllow=localhost\n");
  });

  it("copies its credentials to files it owns, in a directory of the unit", () => {
    expect(unit("agent-ops")).toContain(
      "ExecStartPre=/usr/bin/install -m 0400 %d/agent.ops.gateway-token %d/agent.ops.virtual-key /run/bailiwick-agent-ops/\n",
    );
    expect(unit("agent-ops")).toContain("RuntimeDirectory=bailiwick-agent-ops\nRuntimeDirectoryMode=0700\n");
  });
});

describe("an OpenClaw agent on a machine that is emulated", () => {
  const emulated = new Map(
    renderRelease({ ...sampleInput(sampleSpec()), emulated: true }).files.map(({ path, content }) => [path, content]),
  );
  const options = (of: typeof base) => /^Environment="(NODE_OPTIONS=.*)"$/m.exec(unit("agent-ops", of))?.[1];

  it("is started with a file of its release that its sandbox shows, and that nobody else is given", () => {
    expect(options(emulated)).toBe("NODE_OPTIONS=--max-old-space-size=512 --import /etc/bailiwick/agent/emulated.mjs");
    expect(emulated.get("etc/agents/ops/emulated.mjs")).toContain("registerHooks(");
    expect(sandbox("agent-ops", emulated)).toContain(
      "BindReadOnlyPaths=/opt/bailiwick/current/etc/agents/ops:/etc/bailiwick/agent\n",
    );
  });

  it("is all that differs there; on any other machine nothing of it is rendered", () => {
    const plain = files();
    const differing = [...emulated.keys()].filter((path) => emulated.get(path) !== plain.get(path));
    expect(differing.sort()).toEqual([
      "etc/agents/ops/emulated.mjs",
      "manifest.json",
      "units/bailiwick-agent-ops.service",
    ]);
    expect(options(plain)).toBe("NODE_OPTIONS=--max-old-space-size=512");
    expect([...plain.keys()].filter((path) => path.endsWith("emulated.mjs"))).toEqual([]);
    expect([...plain.values()].join("\n")).not.toContain("--import /etc/bailiwick/agent");
  });
});

describe("a command agent", () => {
  const command = (runtime: object) =>
    unit(
      "agent-web-hook",
      files((spec) => {
        const agent = spec.agents["web-hook"];
        if (agent !== undefined) Object.assign(agent.runtime, runtime);
      }),
    );

  it("is given arguments and variables as they are, whatever systemd would make of them", () => {
    expect(unit("agent-web-hook")).toMatch(
      /^ExecStart=\/usr\/bin\/python3 -I \/etc\/bailiwick\/agent\/confine\.py \/opt\/bailiwick\/components\/[0-9a-f]{64}\/bin\/node "server.mjs" "--motto=50%% of \$\$HOME" "say \\"hi\\""$/m,
    );
    expect(unit("agent-web-hook")).toContain('Environment="GREETING=hello there"\n');
  });

  it("cannot take the kit's variables away", () => {
    const port = principalPort(principalUid("agent/web-hook"));
    const values = [...unit("agent-web-hook").matchAll(/^Environment="BAILIWICK_PORT=(\d+)"$/gm)].map((m) => m[1]);
    expect(values.at(-1)).toBe(String(port));
    expect(unit("agent-web-hook")).toContain('"BAILIWICK_MODEL_URL_DEMO=http://127.0.0.1:4000/demo"');
  });

  it("runs node, a path on the host, or a file of its folder; nothing that is looked up", () => {
    expect(command({ argv: ["/usr/bin/python3", "x.py"] })).toContain('/confine.py /usr/bin/python3 "x.py"\n');
    expect(command({ argv: ["./bin/serve"] })).toMatch(
      /^ExecStart=\/usr\/bin\/python3 -I \/etc\/bailiwick\/agent\/confine\.py \/opt\/bailiwick\/components\/([0-9a-f]{64})\/bin\/serve$/m,
    );
    expect(() => command({ argv: ["python3"] })).toThrow('argv[0]: received "python3"; write "node", an absolute path');
    expect(() => command({ argv: ["./../../../bin/sh"] })).toThrow(/\.\./);
    expect(() => command({ argv: ["node", "a\nExecStartPre=+/bin/sh"] })).toThrow("execWord received");
  });
});

describe("programs of the kit", () => {
  it("can run nothing but themselves, nor anything from where they can write", () => {
    expect(sandbox("gateway")).toMatch(
      /^NoExecPaths=\/ \/tmp \/var\/tmp \/var\/lib\/bailiwick\/gateway\nExecPaths=\/opt\/bailiwick\/components\/[0-9a-f]{64} \/usr\/lib/m,
    );
    expect(sandbox("egress")).toContain(
      "NoExecPaths=/ /tmp /var/tmp\nExecPaths=/usr/sbin/haproxy /usr/lib /lib -/lib64\n",
    );
    expect(unit("egress")).toContain("BindPaths=/run/bailiwick-egress\nNoExecPaths=/run/bailiwick-egress\n");
  });

  it("the resolver can run Python alone, speaks to loopback alone, and reads no file of a release but its own", () => {
    const text = sandbox("resolver");
    expect(text).toContain("NoExecPaths=/ /tmp /var/tmp\nExecPaths=/usr/bin/python3 /usr/lib /lib -/lib64\n");
    expect(text).toContain("\nRestrictAddressFamilies=AF_INET AF_INET6\n");
    expect(text).toContain("\nIPAddressDeny=any\nIPAddressAllow=localhost\n");
    expect(text.match(/^SocketBindAllow=.*$/gm)).toEqual(["SocketBindAllow=ipv4:udp:20000-29999"]);
    expect(text.match(/^Bind(ReadOnly)?Paths=.*$/gm)).toEqual([
      "BindReadOnlyPaths=/opt/bailiwick/current/etc/resolver/hosts:/etc/hosts",
      "BindReadOnlyPaths=/opt/bailiwick/current/etc/resolv.conf:/etc/resolv.conf",
      "BindReadOnlyPaths=/opt/bailiwick/current/etc/resolver:/etc/bailiwick/resolver",
    ]);
  });

  it("on a host without a way to IPv4, what stands for granted names has a route, to be redirected from", () => {
    const only = renderRelease({ ...sampleInput(sampleSpec()), ipv6Only: true }).files;
    const text = only.find(({ path }) => path === "units/bailiwick-egress.service")?.content ?? "";
    expect(text.match(/^ExecStartPre=\+\/usr\/sbin\/ip .*$/gm)).toEqual([
      "ExecStartPre=+/usr/sbin/ip route replace 192.0.2.1/32 dev lo",
      "ExecStartPre=+/usr/sbin/ip route replace 198.18.0.0/15 dev lo",
    ]);
    expect(unit("egress")).not.toContain("/ip ");
    const proxy = only.find(({ path }) => path === "etc/egress/haproxy.cfg")?.content ?? "";
    expect(proxy.match(/str\(only-ipv4\)/g)).toHaveLength(2);
  });

  it("who has a wildcard asks the resolver, and nobody else any", () => {
    const asks = (name: string) => sandbox(name).includes("/etc/resolv-wildcard.conf:/etc/resolv.conf");
    expect(UNITS.filter(asks)).toEqual(["agent-ops"]);
    expect(unit("agent-ops")).toContain("After=bailiwick-resolver.service");
    expect(base.get("etc/resolv-wildcard.conf")).toContain("nameserver 127.0.0.1\n");
    expect(base.get("etc/resolv.conf")).not.toContain("nameserver");
    expect([...files().keys()].filter((path) => path.includes("resolver") || path.includes("wildcard"))).toEqual([]);
  });

  it("the egress proxy's unit does not depend on who is granted what, and its reload finds the new release", () => {
    const more = files((spec) => spec.grants.egress.push({ principal: "agent/web-hook", name: "added.test" }));
    expect(unit("egress", more)).toBe(unit("egress"));
    expect(sandbox("egress", more)).toBe(sandbox("egress"));
    expect(sandbox("egress")).toContain("SocketBindAllow=ipv4:tcp:20000-29999\n");
    expect(sandbox("egress")).toContain("BindReadOnlyPaths=/opt/bailiwick\n");
    expect(unit("egress")).toContain(
      "ExecReload=/usr/sbin/haproxy -c -q -f /opt/bailiwick/current/etc/egress/haproxy.cfg\n",
    );
  });
});

describe("the gateway", () => {
  it("takes a new configuration by a reload: judged first, then handed over where its mounts show it, then told of", () => {
    const text = unit("gateway");
    const [own, handedOver] = ["/etc/bailiwick/gateway/gateway.json", "/run/bailiwick-gateway/gateway.json"];
    expect(text).toMatch(new RegExp(`^ExecStart=.* "${own}" "${handedOver}"$`, "m"));
    expect(text).toContain("\nRuntimeDirectory=bailiwick-gateway\nRuntimeDirectoryMode=0700\n");
    expect(text).toContain("\nBindPaths=/run/bailiwick-gateway\nNoExecPaths=/run/bailiwick-gateway\n");
    const reload = [...text.matchAll(/^ExecReload=(.*)$/gm)].map((match) => match[1]);
    expect(reload).toEqual([
      expect.stringMatching(
        new RegExp(`^\\S+/bin/node "\\S+/model-gateway\\.mjs" "--check" "${own}" "${handedOver}"$`),
      ),
      "+/bin/kill -HUP $MAINPID",
    ]);
    for (const name of ["model-demo", "agent-web-hook"]) expect(unit(name)).not.toContain("ExecReload");
  });
});

describe("a model server of the operator's own", () => {
  const own = files((spec) => {
    const { demo } = spec.models;
    Object.assign(demo ?? {}, { provider: "openai-compatible", service: SERVICE });
  });
  const port = principalPort(principalUid("model/demo"));

  it("runs its program from its own component, with its port, and is ready where it says", () => {
    const text = unit("model-demo", own);
    expect(text).toMatch(
      new RegExp(`^ExecStart=/opt/bailiwick/components/[0-9a-f]{64}/llama-server "--port" "${port}"$`, "m"),
    );
    expect(text).toContain(
      `Environment="LLAMA_PORT=${port}"\nEnvironment="THREADS=2"\nEnvironment="BAILIWICK_PORT=${port}"\n`,
    );
    expect(text).not.toContain("LoadCredential");
    expect(text).toContain("Description=Bailiwick model server demo\n");
    const { units } = JSON.parse(own.get("manifest.json") ?? "") as { units: { name: string; ready: unknown }[] };
    expect(units.find(({ name }) => name === "bailiwick-model-demo.service")?.ready).toEqual({ port, path: "/health" });
  });

  it("has a sandbox without a home, a workspace or a way to anywhere, and so much memory", () => {
    const text = sandbox("model-demo", own);
    expect(text).toContain("IPAddressDeny=any\n");
    expect(text).toContain("MemoryMax=4096M\n");
    expect(text).not.toMatch(/^BindPaths=/m);
    expect(text).toContain(`SocketBindDeny=any\nSocketBindAllow=ipv4:tcp:${port}\n`);
    expect(own.get("units/bailiwick-model-demo-probe@.service.d/50-sandbox.conf")).toBe(text);
  });
});

describe("every sandbox", () => {
  it("has shared memory of its own, which NoExecPaths= would undo, and no programs that lie in memory alone", () => {
    const all = files((spec) => {
      Object.assign(spec.models.demo ?? {}, { provider: "openai-compatible", service: SERVICE });
    });
    const sandboxes = [...all].filter(([path]) => path.endsWith("/50-sandbox.conf"));
    expect(sandboxes.length).toBeGreaterThan(5);
    for (const [path, text] of sandboxes) {
      expect(text, path).toContain("\nTemporaryFileSystem=/dev/shm:");
      expect(text, path).not.toMatch(/^(NoExecPaths|BindPaths)=.*\/dev\/shm/m);
      expect(text, path).toMatch(/^SystemCallFilter=~.* memfd_create memfd_secret$/m);
    }
  });
});

describe("the limits of an agent", () => {
  it("are the defaults but for those of the spec", () => {
    const limited = files((spec) => {
      if (spec.agents.ops !== undefined) spec.agents.ops.limits = { memoryMiB: 512, cpus: 0.5 };
    });
    const text = limited.get("units/bailiwick-agent-ops.service.d/50-sandbox.conf") ?? "";
    expect(text).toContain("MemoryHigh=384M\nMemoryMax=512M\nTasksMax=512\nCPUQuota=50%\n");
    expect(sandbox("agent-ops")).toContain("MemoryHigh=1536M\nMemoryMax=2048M\nTasksMax=512\nCPUQuota=200%\n");
  });
});
