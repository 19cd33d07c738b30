import { execFileSync, spawn } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { buildSync } from "esbuild";
import { afterAll, describe, expect, it } from "vitest";
import type { Component } from "../../runtime/bundle/component.ts";
import { nodeBinary, nodeComponent } from "../../runtime/bundle/node.ts";
import { OPENCLAW_ENTRY, openclawComponent } from "../../runtime/bundle/openclaw.ts";
import { shellConfig } from "../../runtime/policy/shell/shell.ts";
import { GuardConfig } from "../../runtime/policy/tools/schema.ts";
import { renderRelease } from "../../runtime/release/render/release.ts";
import { sha256 } from "../../runtime/spec/digest.ts";
import type { HostSpec } from "../../runtime/spec/host-spec.ts";
import { principalPort, principalUid } from "../../runtime/spec/names.ts";
import { reviewed } from "../integration/support/mcp-lock.ts";
import { missing, SessionPlace, UID } from "../runtime/policy/shell-session.ts";
import { sampleInput } from "../runtime/release/render/sample.ts";
import { sampleWithShell } from "../runtime/release/render/sample-shell.ts";
import type { Setup } from "./openclaw-shell-run.ts";

// The real OpenClaw with the configuration that a release renders for it, the real guard with the one that is rendered for it,
// the real runner, two real servers of tools from npm. Only the model is scripted.

const AGENT_UID = 20_998;
const TOKEN = "0123456789abcdef0123456789abcdef";
/** What of real servers is granted, and what they are started with to be pinned. */
const SERVERS = {
  everything: { granted: ["echo"], args: ["stdio"] },
  filesystem: { granted: ["read_text_file", "write_file"], args: [tmpdir()] },
};
const packageOf = (server: string) => `@modelcontextprotocol/server-${server}`;
const pinned = await Promise.all(
  Object.entries(SERVERS).map(async ([name, { args }]) => ({ name, ...(await reviewed(packageOf(name), args)) })),
);
const spec = sampleWithShell((changed) => {
  changed.grants.invoke = changed.grants.invoke.filter(({ model }) => model === "demo");
  changed.mcpServers = Object.fromEntries(
    pinned.map(({ name, source, tools }) => [
      name,
      {
        uid: principalUid(`mcp/${name}`),
        source: {
          ...source,
          folder: "mcp",
          entry: `node_modules/${packageOf(name)}/dist/index.js`,
          args: [],
          env: {},
          secrets: {},
        },
        tools,
      },
    ]),
  ) as HostSpec["mcpServers"];
  changed.grants.call = Object.entries(SERVERS).map(([server, { granted }]) => ({
    agent: "ops",
    server,
    tools: granted.map((name) => ({ name, arguments: {}, approval: "each-call" as const })),
  }));
});
const [grant] = spec.grants.shell ?? [];
if (grant === undefined) throw new Error("the sample has a shell");
const folder = mkdtempSync(join(tmpdir(), "bailiwick-openclaw-"));
const place = missing === undefined ? new SessionPlace(shellConfig(spec, grant)) : undefined;
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  place?.remove();
});

const socketOf = (server: string) => join(folder, `${server.replace("/", ".")}.sock`);

async function prepare(): Promise<Setup> {
  chmodSync(folder, 0o755);
  const unpack = (name: string, { archive }: Component) => {
    mkdirSync(join(folder, name));
    execFileSync("tar", ["--zstd", "-xpf", archive.path, "-C", join(folder, name)]);
    return join(folder, name);
  };
  const component = unpack("openclaw", await openclawComponent({ version: "2026.9.6" }));
  const node = join(unpack("node", await nodeComponent()), "bin/node");
  const own = (name: string) => {
    const path = join(folder, name);
    mkdirSync(path, { recursive: true, mode: 0o700 });
    chownSync(path, AGENT_UID, AGENT_UID);
    return path;
  };
  const file = (path: string, text: string) => {
    writeFileSync(path, text, { mode: 0o400 });
    chownSync(path, AGENT_UID, AGENT_UID);
    return path;
  };
  const [state, home, temporary, secrets] = [own("state"), own("home"), own("tmp"), own("secrets")];
  for (const name of ["gateway-token", "virtual-key", "mcp-token"]) file(join(secrets, `agent.ops.${name}`), TOKEN);
  const release = renderRelease(sampleInput(spec));
  const rendered = (path: string) => release.files.find((one) => one.path === path)?.content ?? "";
  // the release's own text, at other places: workspaces and credentials lie elsewhere here
  const config = rendered("etc/agents/ops/openclaw.json")
    .replaceAll("/run/bailiwick-agent-ops", secrets)
    .replaceAll("/workspaces/repo", place?.work ?? "");
  const guard = GuardConfig.parse(JSON.parse(rendered("etc/guard/guard.json")));
  const work = place?.work ?? "";
  writeFileSync(join(work, "read-me"), "for OpenClaw to read\n");
  const server = (name: keyof typeof SERVERS, ...args: string[]) => ({
    socket: socketOf(name),
    argv: [process.execPath, resolve("node_modules", packageOf(name), "dist/index.js"), ...args],
  });
  const guardFile = join(folder, "guard.json");
  writeFileSync(
    guardFile,
    JSON.stringify({
      ...guard,
      agents: [{ agent: "ops", sha256: [sha256(TOKEN)] }],
      servers: guard.servers.map((server) => ({ ...server, backend: { kind: "unix", path: socketOf(server.name) } })),
    }),
  );
  const bundle = join(folder, "guard.cjs");
  buildSync({
    entryPoints: ["runtime/host/mcp-guard/main.ts"],
    outfile: bundle,
    bundle: true,
    platform: "node",
    format: "cjs",
    logLevel: "error",
  });
  return {
    node,
    program: join(component, OPENCLAW_ENTRY),
    environment: {
      OPENCLAW_CONFIG_PATH: file(join(own("config"), "openclaw.json"), config),
      OPENCLAW_CONFIG_READONLY: "1",
      OPENCLAW_STATE_DIR: state,
      HOME: home,
      TMPDIR: temporary,
      PATH: "/usr/bin:/bin",
      BAILIWICK_MCP_TOKEN: TOKEN,
      OPENCLAW_NO_AUTO_UPDATE: "1",
      OPENCLAW_OFFLINE: "1",
      DO_NOT_TRACK: "1",
      OPENCLAW_DISABLE_BONJOUR: "1",
      OPENCLAW_NO_RESPAWN: "1",
      NODE_OPTIONS: "--max-old-space-size=512",
    },
    directory: home,
    uid: AGENT_UID,
    port: principalPort(principalUid("agent/ops")),
    token: TOKEN,
    guard: { bundle, config: guardFile },
    sessions: [
      { socket: socketOf("shell/ops"), argv: place?.argv ?? [] },
      server("everything", "stdio"),
      server("filesystem", work),
    ],
    wanted: [
      { name: "exec", arguments: { command: "touch ran-by-exec" } },
      { name: "shell__run", arguments: { command: "id -u; echo by-openclaw >by-shell; exit 4" } },
      { name: "everything__echo", arguments: { message: "by OpenClaw's own client" } },
      { name: "filesystem__read_text_file", arguments: { path: join(work, "read-me") } },
      { name: "filesystem__write_file", arguments: { path: join(work, "written"), content: "x" } },
    ],
  };
}

interface Report {
  readonly error?: string;
  readonly status: number;
  readonly text: string;
  readonly turns: { tools: string[]; said: { role: string; content: unknown } }[];
  readonly guardLog: string;
  readonly log: string;
}

/** Only loopback exists where it runs. */
async function run(setup: Setup): Promise<Report> {
  const file = join(folder, "setup.json");
  writeFileSync(file, JSON.stringify(setup), { mode: 0o600 });
  const script = join(import.meta.dirname, "openclaw-shell-run.ts");
  const lone = ["-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"];
  const child = spawn("unshare", [...lone, await nodeBinary(), script, file], { stdio: ["ignore", "pipe", "inherit"] });
  let out = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  await new Promise((done) => child.on("close", done));
  return JSON.parse(out) as Report;
}

describe.skipIf(missing !== undefined)("OpenClaw with a shell", () => {
  it("is denied its own exec, runs a command by the guard, as another user, in the workspace itself, and calls real servers' tools", async () => {
    const { error, log, turns, ...seen } = await run(await prepare());
    expect(error, log).toBeUndefined();
    expect(seen.status, log).toBe(200);
    const [first, second, third, ...others] = turns;
    expect(first?.tools).toContain("shell__run");
    expect(first?.tools.filter((name) => /^(exec|process|bash|shell|terminal)$/.test(name))).toEqual([]);
    console.log(`tools: ${first?.tools.join(", ")}`);
    expect(second?.said.role).toBe("tool");
    expect(JSON.stringify(second?.said.content)).toMatch(/not found|not available|unknown|denied|not allowed/i);
    for (const where of [place?.work ?? "", join(folder, "home")])
      expect(existsSync(join(where, "ran-by-exec"))).toBe(false);
    expect(JSON.stringify(third?.said.content)).toContain(`exit status 4\\n${UID}\\n`);
    expect(readFileSync(join(place?.work ?? "", "by-shell"), "utf8")).toBe("by-openclaw\n");
    const tools = first?.tools.filter((name) => /^(everything|filesystem)__/.test(name)).sort();
    expect(tools, "of real servers").toEqual([
      "everything__echo",
      "filesystem__read_text_file",
      "filesystem__write_file",
    ]);
    const [echoed, read, refused] = others.map(({ said }) => JSON.stringify(said.content));
    expect(echoed).toContain("Echo: by OpenClaw's own client");
    expect(read).toContain("for OpenClaw to read");
    expect(refused).toContain("this call needs a person's approval");
    expect(existsSync(join(place?.work ?? "", "written"))).toBe(false);
    const lines = seen.guardLog.split("\n").filter((line) => line.includes('"tool":"run"'));
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { principal: "agent/ops", server: "shell/ops", decision: "allowed", outcome: "ok", exitStatus: 4 },
    ]);
  });
});
