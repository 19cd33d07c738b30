import { execFileSync, spawn } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildSync } from "esbuild";
import { afterAll, describe, expect, it } from "vitest";
import type { Component } from "../../runtime/bundle/component.ts";
import { nodeBinary, nodeComponent } from "../../runtime/bundle/node.ts";
import { OPENCLAW_ENTRY, openclawComponent } from "../../runtime/bundle/openclaw.ts";
import { shellConfig } from "../../runtime/policy/shell/shell.ts";
import { GuardConfig } from "../../runtime/policy/tools/schema.ts";
import { renderRelease } from "../../runtime/release/render/release.ts";
import { sha256 } from "../../runtime/spec/digest.ts";
import { principalPort, principalUid } from "../../runtime/spec/names.ts";
import { missing, SessionPlace, UID } from "../runtime/policy/shell-session.ts";
import { sampleInput } from "../runtime/release/render/sample.ts";
import { sampleWithShell } from "../runtime/release/render/sample-shell.ts";
import type { Setup } from "./openclaw-shell-run.ts";

// The real OpenClaw with the configuration that a release renders for it, the real guard with the one that is rendered for it,
// the real runner. Only the model is scripted.

const AGENT_UID = 20_998;
const TOKEN = "0123456789abcdef0123456789abcdef";
const spec = sampleWithShell((changed) => {
  changed.grants.invoke = changed.grants.invoke.filter(({ model }) => model === "demo");
});
const [grant] = spec.grants.shell ?? [];
if (grant === undefined) throw new Error("the sample has a shell");
const folder = mkdtempSync(join(tmpdir(), "bailiwick-openclaw-"));
const place = missing === undefined ? new SessionPlace(shellConfig(spec, grant)) : undefined;
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  place?.remove();
});

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
  const socket = join(folder, "shell.sock");
  const guardFile = join(folder, "guard.json");
  writeFileSync(
    guardFile,
    JSON.stringify({
      ...guard,
      agents: [{ agent: "ops", sha256: [sha256(TOKEN)] }],
      servers: guard.servers.map((server) => ({ ...server, backend: { kind: "unix", path: socket } })),
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
    shell: { socket, argv: place?.argv ?? [] },
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
  it("is denied its own exec, and runs a command by the guard, as another user, in the workspace itself", async () => {
    const { error, log, turns, ...seen } = await run(await prepare());
    expect(error, log).toBeUndefined();
    expect(seen.status, log).toBe(200);
    const [first, second, third] = turns;
    expect(first?.tools).toContain("shell__run");
    expect(first?.tools.filter((name) => /^(exec|process|bash|shell|terminal)$/.test(name))).toEqual([]);
    console.log(`tools: ${first?.tools.join(", ")}`);
    expect(second?.said.role).toBe("tool");
    expect(JSON.stringify(second?.said.content)).toMatch(/not found|not available|unknown|denied|not allowed/i);
    for (const where of [place?.work ?? "", join(folder, "home")])
      expect(existsSync(join(where, "ran-by-exec"))).toBe(false);
    expect(JSON.stringify(third?.said.content)).toContain(`exit status 4\\n${UID}\\n`);
    expect(readFileSync(join(place?.work ?? "", "by-shell"), "utf8")).toBe("by-openclaw\n");
    const lines = seen.guardLog.split("\n").filter((line) => line.includes('"tool":"run"'));
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { principal: "agent/ops", server: "shell/ops", decision: "allowed", outcome: "ok", exitStatus: 4 },
    ]);
  });
});
