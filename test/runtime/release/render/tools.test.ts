import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hostPrincipals } from "../../../../runtime/policy/egress/principals.ts";
import { egressProbes } from "../../../../runtime/policy/egress/probes.ts";
import { toolProbes } from "../../../../runtime/policy/tools/probes.ts";
import { GuardConfig } from "../../../../runtime/policy/tools/schema.ts";
import { renderRelease } from "../../../../runtime/release/render/release.ts";
import { requiredComponents, requiredCredentials } from "../../../../runtime/release/render/requirements.ts";
import { sha256 } from "../../../../runtime/spec/digest.ts";
import { principalUid } from "../../../../runtime/spec/names.ts";
import { sampleInput, sampleSpec } from "./sample.ts";
import { sampleWithShell } from "./sample-shell.ts";
import { sampleWithTools } from "./sample-tools.ts";

const release = renderRelease(sampleInput(sampleWithTools()));
const file = (path: string, from = release) => {
  const found = from.files.find((one) => one.path === path);
  if (found === undefined) throw new Error(`the release has no ${path}`);
  return found.content;
};

describe("a host with MCP servers", () => {
  it("has each server on it, and the guard, as principals; the remote one is none", () => {
    const added = hostPrincipals(sampleWithTools()).filter(({ kind }) => kind === "mcp" || kind === "guard");
    expect(added.map(({ id, uid, chain, port, names }) => [id, uid, chain, port, names])).toEqual([
      ["mcp/files", principalUid("mcp/files"), "mcp_files", null, []],
      ["mcp/hub", principalUid("mcp/hub"), "mcp_hub", null, ["api.hub.test"]],
      ["guard", 20002, "tool_guard", 4100, ["mcp.far.test"]],
    ]);
  });

  it("needs the guard, each server's packages, a token for each agent that calls, and the servers' secrets", () => {
    const spec = sampleWithTools();
    const before = sampleSpec();
    const more = (list: (s: typeof spec) => string[]) => list(spec).filter((one) => !list(before).includes(one));
    expect(more(requiredComponents)).toEqual(["mcp-guard", "mcp-server-files", "mcp-server-hub"]);
    expect(more((s) => requiredCredentials(s).secrets)).toEqual(["far-token", "hub-token"]);
    expect(more((s) => requiredCredentials(s).generated)).toEqual(["agent.ops.mcp-token", "agent.web-hook.mcp-token"]);
  });

  it("starts sockets before the guard, and the guard before agents", () => {
    const names = release.manifest.units.map(({ name }) => name);
    expect(names.slice(names.indexOf("bailiwick-mcp-files.socket"))).toEqual([
      "bailiwick-mcp-files.socket",
      "bailiwick-mcp-hub.socket",
      "bailiwick-guard.socket",
      "bailiwick-guard.service",
      "bailiwick-agent-ops.service",
      "bailiwick-agent-web-hook.service",
    ]);
    expect(release.manifest.units.find(({ name }) => name === "bailiwick-guard.service")?.ready).toEqual({
      port: 4100,
      path: "/healthz",
    });
  });

  it("opens the guard's port to agents with a grant, and nothing to servers", () => {
    const chain = (name: string, from = release) =>
      new RegExp(`chain ${name} \\{[^}]*(?:\\{[^}]*\\}[^}]*)*?\\n {2}\\}`).exec(file("etc/firewall.nft", from))?.[0] ??
      "";
    expect(chain("agent_ops")).toMatch(/ip daddr 127\.0\.0\.1 tcp dport \{[^}]*\b4100\b/);
    const ungranted = renderRelease(sampleInput(sampleWithTools((s) => delete s.grants.call)));
    expect(chain("agent_ops", ungranted)).not.toContain("4100");
    expect(chain("mcp_files")).not.toContain("accept");
    expect(chain("mcp_hub")).toContain(`tcp dport { ${principalUid("mcp/hub")} } accept`);
    expect(file("etc/firewall.nft")).toMatch(/oif lo tcp dport \{[^}]*\b4100\b/);
  });

  it("gives a server with a wildcard alone a network, as one with an exact name has, and its probes", () => {
    const spec = sampleWithTools((s) => s.grants.egress.push({ principal: "mcp/files", name: "*.wild.test" }));
    const of = renderRelease(sampleInput(spec));
    const sandbox = (from = release) => file("units/bailiwick-mcp-files@.service.d/50-sandbox.conf", from);
    expect(sandbox()).toContain("PrivateNetwork=yes");
    expect(sandbox(of)).not.toContain("PrivateNetwork=yes");
    expect(sandbox(of)).toContain("/etc/resolv-wildcard.conf:/etc/resolv.conf");
    expect(file("units/bailiwick-mcp-files@.service", of)).toContain("require-table mcp_files");
    const subject = { spec, manifest: of.manifest };
    const ids = [...egressProbes(subject), ...toolProbes(subject)].map(({ id }) => id);
    expect(ids).toContain("mcp/files/wildcard/*.wild.test");
    expect(ids).not.toContain("mcp/files/network");
  });

  it("configures the guard with hashes, pinned tools and grants, and takes it itself", () => {
    const config = GuardConfig.parse(JSON.parse(file("etc/guard/guard.json")));
    expect(config.agents).toEqual([
      { agent: "ops", sha256: [sha256("text of agent.ops.mcp-token")] },
      { agent: "web-hook", sha256: [sha256("text of agent.web-hook.mcp-token")] },
    ]);
    expect(
      config.servers.map(({ name, backend, grants }) => [name, backend, grants.map(({ agent }) => agent)]),
    ).toEqual([
      ["far", { kind: "remote", url: "https://mcp.far.test/mcp", credential: "secret.far-token" }, ["web-hook"]],
      ["files", { kind: "unix", path: "/run/bailiwick-mcp/files.sock" }, ["ops"]],
      ["hub", { kind: "unix", path: "/run/bailiwick-mcp/hub.sock" }, []],
    ]);
  });

  it("gives a server's secret to that server alone, and no secret to any text", () => {
    const unit = (name: string) => file(`units/bailiwick-${name}.service`);
    expect(unit("mcp-hub@")).toContain("LoadCredentialEncrypted=secret.hub-token:");
    expect(file("etc/mcp/hub/launcher.mjs")).toContain('const secrets = {"HUB_TOKEN":"secret.hub-token"};');
    expect(unit("mcp-files@")).not.toContain("LoadCredentialEncrypted");
    expect(unit("guard")).toContain("LoadCredentialEncrypted=secret.far-token:");
    expect(unit("guard")).not.toContain("hub-token");
    for (const { path, content } of release.files)
      if (/mcp-(?:hub|files)@|guard\.service$/.test(path))
        expect(content, path).not.toMatch(/virtual-key|gateway-token/);
  });

  it("runs a server offline unless a name is granted to it, each connection in a process of its own", () => {
    const sandbox = (name: string) => file(`units/bailiwick-mcp-${name}@.service.d/50-sandbox.conf`);
    expect(sandbox("files")).toContain(
      "PrivateNetwork=yes\nRestrictAddressFamilies=\nRestrictAddressFamilies=AF_UNIX\n",
    );
    expect(sandbox("hub")).not.toContain("PrivateNetwork");
    // from within a network namespace of its own the host's rules cannot be seen, and the unit would never start
    expect(file("units/bailiwick-mcp-files@.service")).not.toContain("require-table");
    expect(file("units/bailiwick-mcp-hub@.service")).toContain("require-table mcp_hub\n");
    expect(file("units/bailiwick-mcp-files-probe@.service.d/50-sandbox.conf")).toBe(sandbox("files"));
    const socket = file("units/bailiwick-mcp-files.socket");
    expect(socket).toContain(
      "ListenStream=/run/bailiwick-mcp/files.sock\nAccept=yes\nSocketUser=bw-guard\nSocketGroup=bw-guard\nSocketMode=0600\n",
    );
    expect(file("units/bailiwick-guard.socket")).toContain("SocketUser=root\nSocketGroup=root\nSocketMode=0600\n");
    expect(file("units/bailiwick-mcp-files@.service")).toMatch(
      /^ExecStart=\S+\/bin\/node "--import" "\/etc\/bailiwick\/mcp\/launcher\.mjs" "\S+\/node_modules\/@x\/server\/dist\/index\.js" "--root" "\/tmp\/50%% of \$\$HOME"$/m,
    );
  });

  it("shows a server the workspaces that were granted to it, in their mode, and needs their disk for it", () => {
    const granted = renderRelease(
      sampleInput(
        sampleWithTools((s) => {
          s.grants.serverMount = [
            { server: "files", workspace: "docs", mode: "ro" },
            { server: "files", workspace: "repo", mode: "rw" },
          ];
        }),
      ),
    );
    const sandbox = file("units/bailiwick-mcp-files@.service.d/50-sandbox.conf", granted);
    expect(sandbox).toContain("BindReadOnlyPaths=/var/lib/bailiwick/workspaces/docs:/workspaces/docs\n");
    expect(sandbox).toContain(
      "BindPaths=/var/lib/bailiwick/workspaces/repo:/workspaces/repo\nNoExecPaths=/workspaces/repo\n",
    );
    const mounted = "AssertPathIsMountPoint=/var/lib/bailiwick\n";
    expect(file("units/bailiwick-mcp-files@.service", granted)).toContain(mounted);
    expect(file("units/bailiwick-mcp-hub@.service", granted)).not.toContain(mounted);
    expect(file("units/bailiwick-mcp-hub@.service.d/50-sandbox.conf", granted)).not.toContain("/workspaces/docs");
    expect(granted.manifest.acls.filter(({ user }) => user === "bw-mcp-files")).toEqual([
      { path: "/var/lib/bailiwick/workspaces/docs", user: "bw-mcp-files", mode: "ro" },
      { path: "/var/lib/bailiwick/workspaces/repo", user: "bw-mcp-files", mode: "rw" },
    ]);
  });

  it("restarts a server's socket, and so its processes, when anything of the server changes", () => {
    const changed = renderRelease(
      sampleInput(
        sampleWithTools((s) => {
          if (s.mcpServers?.files?.source.kind === "npm") s.mcpServers.files.source.env.MODE = "other";
        }),
      ),
    );
    const socket = "units/bailiwick-mcp-files.socket";
    expect(file(socket, changed)).not.toBe(file(socket));
    expect(file("units/bailiwick-mcp-hub.socket", changed)).toBe(file("units/bailiwick-mcp-hub.socket"));
    expect(file("units/bailiwick-guard.service", changed)).toBe(file("units/bailiwick-guard.service"));
  });

  it("tells OpenClaw of the granted servers, with its token from the environment", () => {
    const { mcp } = JSON.parse(file("etc/agents/ops/openclaw.json"));
    expect(mcp).toEqual({
      servers: {
        files: {
          url: "http://127.0.0.1:4100/files",
          transport: "streamable-http",
          headers: { Authorization: `Bearer \${BAILIWICK_MCP_TOKEN}` },
        },
      },
    });
    const unit = file("units/bailiwick-agent-ops.service");
    expect(unit).toMatch(
      /^ExecStart=\/usr\/bin\/python3 -I \/etc\/bailiwick\/agent\/confine\.py \/bin\/sh -c "BAILIWICK_MCP_TOKEN=\$\$\(cat \/run\/bailiwick-agent-ops\/agent\.ops\.mcp-token\) exec \S+\/bin\/node \S+openclaw\.mjs gateway run"$/m,
    );
    expect(file("units/bailiwick-agent-web-hook.service")).toContain(
      'Environment="BAILIWICK_MCP_URL_FAR=http://127.0.0.1:4100/far"',
    );
  });

  it("leaves every other file of the host as it was", () => {
    const plain = renderRelease(sampleInput(sampleSpec()));
    const same = plain.files.filter(
      ({ path }) => /units\/bailiwick-(?:gateway|model|egress)/.test(path) || path.startsWith("etc/gateway"),
    );
    expect(same.length).toBeGreaterThan(8);
    for (const { path, content } of same) expect(file(path), path).toBe(content);
  });
});

describe("systemd", () => {
  const missing =
    spawnSync("sh", ["-c", "command -v systemd-analyze"]).status === 0
      ? undefined
      : "no systemd-analyze on this machine";
  if (missing !== undefined) console.log(`not run: ${missing}`);
  let root = "";
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), "bailiwick-tools-"));
    const write = (path: string, content: string, mode = 0o644) => {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), content, { mode });
    };
    const whole = sampleWithTools((spec) => {
      spec.grants.shell = sampleWithShell().grants.shell;
    });
    for (const { path, content } of renderRelease(sampleInput(whole)).files) {
      if (!path.startsWith("units/")) continue;
      write(path.replace("units/", "etc/systemd/system/"), content);
      for (const [, program = ""] of content.matchAll(/^Exec(?:Start|StartPre|Reload)=\+?(\/\S+)/gm))
        write(program, "#!/bin/sh\n", 0o755);
    }
    write("etc/systemd/system/bailiwick-firewall.service", "[Service]\nExecStart=/bin/true\n");
    write("bin/true", "#!/bin/sh\n", 0o755);
    for (const target of ["multi-user", "basic", "sysinit", "shutdown", "network"])
      write(`etc/systemd/system/${target}.target`, "[Unit]\nDescription=stand-in\n");
    write("etc/systemd/system/-.mount", "");
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  const units = [
    "bailiwick-guard.service",
    "bailiwick-guard.socket",
    "bailiwick-mcp-files.socket",
    "bailiwick-mcp-files@one.service",
    "bailiwick-mcp-hub@one.service",
    "bailiwick-mcp-hub-probe@one.service",
    "bailiwick-shell-ops.socket",
    "bailiwick-shell-ops.slice",
    "bailiwick-shell-ops@one.service",
    "bailiwick-shell-ops-probe@one.service",
  ];
  it.skipIf(missing !== undefined).each(units)("has no complaint about %s", (unit) => {
    const args = ["verify", "--man=no", "--generators=no", `--root=${root}`, unit];
    const { stderr, status } = spawnSync("systemd-analyze", args, { encoding: "utf8" });
    expect(stderr.trim()).toBe("");
    expect(status).toBe(0);
  });

  it.skipIf(missing !== undefined).each([
    ["bailiwick-guard.service", 1.5],
    ["bailiwick-mcp-files@.service", 1.0],
    ["bailiwick-mcp-hub@.service", 1.8],
    ["bailiwick-shell-ops@.service", 1.0],
  ])("rates %s at most %d", (unit, most) => {
    const args = ["security", "--offline=true", "--no-pager", `--root=${root}`, unit];
    const text = execFileSync("systemd-analyze", args, { encoding: "utf8" });
    const score = Number(/exposure level for \S+: ([\d.]+)/.exec(text)?.[1]);
    expect(score).toBeLessThanOrEqual(most);
  });
});
