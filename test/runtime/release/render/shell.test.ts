import { describe, expect, it } from "vitest";
import { hostPrincipals } from "../../../../runtime/policy/egress/principals.ts";
import { GuardConfig } from "../../../../runtime/policy/tools/schema.ts";
import { renderRelease } from "../../../../runtime/release/render/release.ts";
import { requiredComponents, requiredCredentials } from "../../../../runtime/release/render/requirements.ts";
import { sha256 } from "../../../../runtime/spec/digest.ts";
import { type HostSpec, parseHostSpec, SpecError } from "../../../../runtime/spec/host-spec.ts";
import { principalUid } from "../../../../runtime/spec/names.ts";
import { sampleInput, sampleSpec } from "./sample.ts";
import { sampleWithShell } from "./sample-shell.ts";
import { sampleWithTools } from "./sample-tools.ts";

const release = renderRelease(sampleInput(sampleWithShell()));
const networked = renderRelease(
  sampleInput(sampleWithShell((spec) => spec.grants.egress.push({ principal: "shell/ops", name: "git.test" }))),
);
const file = (path: string, from = release) => {
  const found = from.files.find((one) => one.path === path);
  if (found === undefined) throw new Error(`the release has no ${path}`);
  return found.content;
};
const sandbox = (from = release) => file("units/bailiwick-shell-ops@.service.d/50-sandbox.conf", from);

describe("a host on which an agent has a shell", () => {
  it("has the shell as a principal of its own, with another uid than the agent's, and the guard", () => {
    const before = new Set(hostPrincipals(sampleSpec()).map(({ id }) => id));
    const added = hostPrincipals(sampleWithShell()).filter(({ id }) => !before.has(id));
    expect(added.map(({ id, uid, user, chain, port }) => [id, uid, user, chain, port])).toEqual([
      ["shell/ops", principalUid("shell/ops"), "bw-shell-ops", "shell_ops", null],
      ["guard", 20002, "bw-guard", "tool_guard", 4100],
    ]);
    expect(requiredComponents(sampleWithShell())).toContain("mcp-guard");
    expect(requiredCredentials(sampleWithShell()).generated).toContain("agent.ops.mcp-token");
    expect(requiredCredentials(sampleSpec()).generated).not.toContain("agent.ops.mcp-token");
  });

  it("shows it the granted workspaces themselves, in the agent's mode, and nothing of the agent", () => {
    expect(sandbox()).toContain("BindPaths=/var/lib/bailiwick/workspaces/repo:/workspaces/repo\n");
    expect(sandbox()).toContain("BindReadOnlyPaths=/var/lib/bailiwick/workspaces/docs:/workspaces/docs\n");
    expect(sandbox()).toContain("NoExecPaths=/workspaces/docs\nNoExecPaths=/workspaces/repo\n");
    expect(sandbox()).toMatch(/^User=bw-shell-ops$/m);
    for (const { path, content } of release.files.filter(({ path }) => path.includes("bailiwick-shell-ops")))
      expect(content, path).not.toMatch(/agents\/|agent\.ops|LoadCredential|bailiwick-agent/);
    expect(release.manifest.acls.filter(({ user }) => user === "bw-shell-ops")).toEqual([
      { path: "/var/lib/bailiwick/workspaces/docs", user: "bw-shell-ops", mode: "ro" },
      { path: "/var/lib/bailiwick/workspaces/repo", user: "bw-shell-ops", mode: "rw" },
    ]);
    const fewer = renderRelease(
      sampleInput(sampleWithShell((_, shell) => Object.assign(shell, { workspaces: ["docs"] }))),
    );
    expect(sandbox(fewer)).not.toContain("workspaces/repo");
    expect(fewer.manifest.acls.filter(({ user }) => user === "bw-shell-ops")).toHaveLength(1);
  });

  it("gives it no network until a name is granted to it, whatever its agent was granted", () => {
    expect(sandbox()).toContain("PrivateNetwork=yes\nRestrictAddressFamilies=\nRestrictAddressFamilies=AF_UNIX\n");
    expect(file("units/bailiwick-shell-ops@.service")).not.toContain("require-table");
    expect(file("etc/shells/ops/hosts")).not.toContain("news.test");
    expect(sandbox(networked)).not.toContain("PrivateNetwork");
    expect(file("units/bailiwick-shell-ops@.service", networked)).toContain("require-table shell_ops\n");
    expect(file("etc/shells/ops/hosts", networked)).toContain("git.test");
    expect(file("etc/shells/ops/hosts", networked)).not.toContain("news.test");
    const port = principalUid("shell/ops");
    expect(file("etc/firewall.nft", networked)).toContain(
      `meta skuid ${port} ip daddr != 127.0.0.0/8 tcp dport 443 redirect to :${port}`,
    );
    const chain = (name: string) => file("etc/firewall.nft", networked).split(`chain ${name} {`)[1]?.split("\n  }")[0];
    expect(chain("shell_ops")).toContain(`ip daddr 127.0.0.1 tcp dport { ${port} } accept`);
    expect(chain("shell_ops")).not.toMatch(/\b4[01]00\b/);
    expect(chain("agent_ops")).toMatch(/\b4100\b/);
  });

  it("starts a process for each connection of the guard's, in a scope of its own, that ends with its connection", () => {
    const socket = file("units/bailiwick-shell-ops.socket");
    expect(socket).toContain("ListenStream=/run/bailiwick-mcp/shell.ops.sock\nAccept=yes\nSocketUser=bw-guard\n");
    expect(socket).toContain("SocketMode=0600\n");
    const unit = file("units/bailiwick-shell-ops@.service");
    expect(unit).toMatch(
      /^ExecStart=\/usr\/bin\/python3 "-I" "\/etc\/bailiwick\/shell\/confine\.py" "\/usr\/bin\/python3" "-I" "\/etc\/bailiwick\/shell\/runner\.py" "\/etc\/bailiwick\/shell\/shell\.json"$/m,
    );
    expect(unit).toContain("StandardInput=socket\nStandardOutput=socket\n");
    expect(unit).toContain("KillMode=mixed\n");
    expect(file("units/bailiwick-shell-ops-probe@.service.d/50-sandbox.conf")).toBe(sandbox());
    expect(file("units/bailiwick-shell-ops-probe@.service")).toContain(
      "ExecStart=/usr/bin/python3 -I /etc/bailiwick/shell/confine.py /bin/sh /run/bailiwick-probes/%i\n",
    );
    expect(file("units/bailiwick-guard.service.d/50-sandbox.conf")).toContain("BindReadOnlyPaths=/run/bailiwick-mcp\n");
    const names = release.manifest.units.map(({ name }) => name);
    expect(names.indexOf("bailiwick-shell-ops.socket")).toBeLessThan(names.indexOf("bailiwick-guard.service"));
  });

  it("bounds each session and, by a slice that lies in no other's, all of them together", () => {
    const small = renderRelease(
      sampleInput(
        sampleWithShell((_, shell) => Object.assign(shell, { limits: { memoryMiB: 512, tasks: 64, cpus: 0.5 } })),
      ),
    );
    for (const text of [sandbox(small), file("units/bailiwick-shell-ops.slice", small)])
      expect(text).toContain("MemoryHigh=384M\nMemoryMax=512M\n");
    expect(sandbox(small)).toContain("Slice=bailiwick-shell-ops.slice\n");
    expect(file("units/bailiwick-shell-ops.slice", small)).toContain("TasksMax=64\nCPUQuota=50%\n");
    const hyphen = renderRelease(
      sampleInput(
        sampleWithShell((_, shell) =>
          Object.assign(shell, { agent: "web-hook", uid: principalUid("shell/web-hook"), workspaces: ["docs"] }),
        ),
      ),
    );
    expect(hyphen.files.map(({ path }) => path)).toContain("units/bailiwick-shell-web_hook.slice");
  });

  it("restarts the shell's socket, and so its processes, when anything of it changes, and not the agent", () => {
    const other = renderRelease(sampleInput(sampleWithShell((_, shell) => Object.assign(shell, { seconds: 9 }))));
    for (const unit of ["bailiwick-shell-ops.socket", "bailiwick-guard.service"])
      expect(file(`units/${unit}`, other), unit).not.toBe(file(`units/${unit}`));
    expect(file("units/bailiwick-agent-ops.service", other)).toBe(file("units/bailiwick-agent-ops.service"));
  });

  it("has it at the guard as one tool, which writes, for that agent alone, by the very definition that it will say", () => {
    const config = GuardConfig.parse(JSON.parse(file("etc/guard/guard.json")));
    expect(config.agents).toEqual([{ agent: "ops", sha256: [sha256("text of agent.ops.mcp-token")] }]);
    const [server] = config.servers;
    expect(server).toMatchObject({
      name: "shell/ops",
      backend: { kind: "unix", path: "/run/bailiwick-mcp/shell.ops.sock" },
      grants: [{ agent: "ops", tools: [{ name: "run", arguments: {}, approval: "waived" }] }],
      callMs: 60_000,
      exitStatus: true,
    });
    const { hash: _, class: klass, ...definition } = server?.tools[0] ?? {};
    expect(klass).toBe("write");
    const said = JSON.parse(file("etc/shells/ops/shell.json"));
    expect(said.tool).toEqual(definition);
    expect(said).toMatchObject({ directory: "/workspaces/repo", seconds: 50, outputBytes: 65536 });
    expect(said.tool.description).toContain("/workspaces/docs (read only), /workspaces/repo (read and write)");
    expect(said.tool.description).toContain("It reaches no network.");
    expect(JSON.parse(file("etc/shells/ops/shell.json", networked)).tool.description).toContain(
      "It reaches on the network git.test alone.",
    );
  });

  it("tells the agent of it, whatever its runtime, as a server named shell; OpenClaw's own exec stays denied", () => {
    const openclaw = JSON.parse(file("etc/agents/ops/openclaw.json"));
    expect(openclaw.mcp.servers.shell.url).toBe("http://127.0.0.1:4100/shell/ops");
    expect(openclaw.tools).toMatchObject({ exec: { security: "deny" }, elevated: { enabled: false } });
    expect(openclaw.tools.deny).toContain("group:runtime");
    expect(file("units/bailiwick-agent-ops.service")).toContain("agent.ops.mcp-token");
    const command = renderRelease(
      sampleInput(
        sampleWithShell((_, shell) =>
          Object.assign(shell, { agent: "web-hook", uid: principalUid("shell/web-hook"), workspaces: ["docs"] }),
        ),
      ),
    );
    expect(file("units/bailiwick-agent-web-hook.service", command)).toContain(
      'Environment="BAILIWICK_MCP_URL_SHELL=http://127.0.0.1:4100/shell/web-hook"\n',
    );
    expect(file("units/bailiwick-agent-web-hook.service", command)).toContain("agent.web-hook.mcp-token");
  });

  it("leaves every other principal's files as they were", () => {
    const plain = renderRelease(sampleInput(sampleSpec()));
    const same = plain.files.filter(({ path }) => /units\/bailiwick-(?:gateway|model|egress|agent-web)/.test(path));
    expect(same.length).toBeGreaterThan(8);
    for (const { path, content } of same) expect(file(path), path).toBe(content);
  });
});

describe("a spec with a shell is refused if", () => {
  const problems = (change: Parameters<typeof sampleWithShell>[0]): readonly string[] => {
    try {
      sampleWithShell(change);
      return [];
    } catch (error) {
      if (error instanceof SpecError) return error.problems;
      throw error;
    }
  };
  it.each<[string, NonNullable<Parameters<typeof sampleWithShell>[0]>, string]>([
    [
      "its agent is none",
      (_, shell) => Object.assign(shell, { agent: "none" }),
      'grants.shell[0].agent: received "none"',
    ],
    [
      "its workspace is not the agent's",
      (spec, shell) => {
        spec.workspaces.other = {};
        Object.assign(shell, { workspaces: ["other"] });
      },
      'grants.shell[0].workspaces[0]: received "other", which is not granted to agent "ops" itself; it has "repo", "docs"',
    ],
    [
      "an agent has two",
      (spec, shell) => spec.grants.shell?.push({ ...shell, uid: 20_199 }),
      'grants.shell[1]: a shell is granted to agent "ops" twice',
    ],
    [
      "its uid is its agent's",
      (spec, shell) => Object.assign(shell, { uid: spec.agents.ops?.uid }),
      'already the uid (and so the port) of agent "ops"',
    ],
    [
      "a name is granted to a shell that is none",
      (spec) => spec.grants.egress.push({ principal: "shell/web-hook", name: "a.test" }),
      'received "web-hook", which is no agent with a shell of this host; it has "ops"',
    ],
  ])("%s", (_, change, message) => {
    expect(problems(change).join("\n")).toContain(message);
  });

  it("the agent may call an MCP server of that name too", () => {
    const spec: HostSpec = sampleWithTools();
    spec.mcpServers = {
      ...spec.mcpServers,
      shell: { ...structuredClone(spec.mcpServers?.files), uid: 20_198 } as never,
    };
    spec.grants.shell = structuredClone(sampleWithShell().grants.shell);
    expect(() => parseHostSpec(spec)).not.toThrow();
    spec.grants.call?.push({
      agent: "ops",
      server: "shell",
      tools: [{ name: "read_file", arguments: {}, approval: "each-call" }],
    });
    expect(() => parseHostSpec(spec)).toThrow('agent "ops" may call MCP server "shell", and its shell has that name');
  });
});
