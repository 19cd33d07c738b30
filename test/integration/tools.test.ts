import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { McpLock } from "../../runtime/policy/tools/schema.ts";
import { Internet } from "./support/internet.ts";
import { ok, Project } from "./support/project.ts";

// Two real servers from npm on a real host: pinned there, reviewed, granted, called by an agent that does what it is told.

const PUPPET = join(import.meta.dirname, "support/puppet");
/** @param shell how its agent's commands are approved: at first each by a person */
const app = (grants: string, shell: "each-call" | "waived" = "each-call") =>
  appText(grants, shell)
    .replace("REPO", project === undefined ? "" : join(project.dir, "repo"))
    .replace("COMMIT", commit);
const appText = (grants: string, shell: string) => `
import { App, TerraformStack } from "cdktf";
import { Access, AgentHost, Argument, LocalMachine, McpPackage, Runtime, Secret, Seed } from "KIT";

class Tools extends TerraformStack {
  constructor(scope, id) {
    super(scope, id);
    const machine = new LocalMachine(this, "machine", { engine: "nspawn", rootGiB: 4, dataGiB: 1 });
    const host = new AgentHost(this, "tools", { machine, access: Access.operator() });
    const agent = host.addAgent("puppet", {
      runtime: Runtime.command({ source: ${JSON.stringify(PUPPET)}, argv: ["node", "./main.mjs"], health: "/healthz", ask: "/v1/chat/completions" }),
    });
    const server = (name, args) =>
      host.addMcpServer(name, McpPackage.npm("mcp", { package: "@modelcontextprotocol/server-" + name, args }));
    host.addWorkspace("desk", { seed: Seed.folder("seed") }).grantReadWrite(agent);
    host.addWorkspace("repo", { seed: Seed.git("file://REPO", { commit: "COMMIT" }) }).grantRead(agent);
    agent.grantShell({ approval: "${shell}" });
    Secret.fromEnv("BW_TEAM_TOKEN", { name: "team" }).grantRead(agent);
    const everything = server("everything", ["stdio"]);
    const filesystem = server("filesystem", ["/tmp"]);
    Secret.fromEnv("BW_DESK_TOKEN", { name: "desk" }).grantRead(filesystem);
    ${grants}
  }
}

const app = new App();
new Tools(app, "tools");
app.synth();
`;
const GRANTS = `
    everything.grantCall(agent, ["echo"]);
    filesystem.grantCall(agent, [
      { tool: "read_text_file", arguments: { path: Argument.below("/tmp/open") } },
      { tool: "write_file", arguments: { path: Argument.below("/tmp") } },
    ]);`;

let internet: Internet;
let project: Project;
let commit = "";
beforeAll(async () => {
  internet = await Internet.start({});
  project = new Project(app(""), { BW_TEAM_TOKEN: "canary-team-one", BW_DESK_TOKEN: "canary-desk" }, internet);
  makeSeeds();
  cpSync(join(import.meta.dirname, "support/mcp"), join(project.dir, "mcp"), { recursive: true });
  await project.build("tools");
  ok(await project.cdktf(["deploy", "tools", "--auto-approve"]));
});

/** A folder beside the app, and a repository of two commits of which the app names the first. */
function makeSeeds(): void {
  mkdirSync(join(project.dir, "seed/bin"), { recursive: true });
  writeFileSync(join(project.dir, "seed/notes"), "of the seed\n");
  writeFileSync(join(project.dir, "seed/bin/tool"), "#!/bin/sh\n", { mode: 0o755 });
  symlinkSync("notes", join(project.dir, "seed/link"));
  const repo = join(project.dir, "repo");
  const git = (...args: string[]) =>
    execFileSync("git", ["-C", repo, "-c", "user.name=t", "-c", "user.email=t@example.com", ...args], {
      encoding: "utf8",
    });
  mkdirSync(repo);
  git("init", "--quiet");
  for (const text of ["first", "second"]) {
    writeFileSync(join(repo, "file"), `${text}\n`);
    git("add", "file");
    git("commit", "--quiet", "--message", text);
  }
  commit = git("rev-parse", "HEAD~1").trim();
  project.write(app(""));
}

afterAll(async () => {
  if (project !== undefined) {
    await project.cdktf(["destroy", "tools", "--auto-approve"]);
    project.remove();
  }
  internet?.close();
});

/** A command in the agent's sandbox; what it printed. */
async function asAgent(command: string): Promise<string> {
  const ran = ok(await project.bailiwick(["ask", "tools", `sh ${command}`, "--json"]));
  return (JSON.parse(ran.stdout) as { reply: string }).reply;
}

/** A script of Node.js in the agent's sandbox. */
const script = (text: string) =>
  asAgent(
    `$0 --input-type=module -e "eval(Buffer.from('${Buffer.from(text).toString("base64")}','base64').toString())"`,
  );

/** Calls of the agent in one session with one server; each answer, `error` and all. */
async function calls(server: string, list: [string, object][]) {
  const reply = await script(`(async () => {
    const { readFileSync } = await import("node:fs");
    const token = readFileSync(process.env.CREDENTIALS_DIRECTORY + "/agent.puppet.mcp-token", "utf8");
    const headers = { authorization: "Bearer " + token, "content-type": "application/json", accept: "application/json, text/event-stream" };
    const send = async (message) => {
      const response = await fetch(process.env.BAILIWICK_MCP_URL_${server.toUpperCase()}, { method: "POST", headers, body: JSON.stringify({ jsonrpc: "2.0", ...message }) });
      headers["mcp-session-id"] ??= response.headers.get("mcp-session-id");
      const text = await response.text();
      return text === "" ? null : JSON.parse(text);
    };
    await send({ id: 0, method: "initialize", params: { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "p", version: "1" } } });
    await send({ method: "notifications/initialized" });
    const answers = [await send({ id: 1, method: "tools/list" })];
    for (const [i, [name, args]] of ${JSON.stringify(list)}.entries())
      answers.push(await send({ id: i + 2, method: "tools/call", params: { name, arguments: args } }));
    console.log("ANSWERS" + JSON.stringify(answers));
  })()`);
  const found = /ANSWERS(.*)$/m.exec(reply)?.[1];
  if (found === undefined) throw new Error(reply);
  const [tools, ...answers] = JSON.parse(found) as { result?: { tools?: { name: string }[] } }[];
  return { tools: tools?.result?.tools?.map(({ name }) => name), answers: answers.map((one) => JSON.stringify(one)) };
}

/** What the guard logged of calls of a server's tools, in order. */
async function logged(server: string) {
  const { stdout } = ok(
    await project.bailiwick(["ssh", "tools", "--", "sudo", "journalctl", "-qu", "bailiwick-guard", "-o", "cat"]),
  );
  const lines = stdout
    .split("\n")
    .filter((line) => line.includes(`"server":"${server}"`) && line.includes('"tools/call"'));
  return lines.map((line) => JSON.parse(line) as Record<"principal" | "tool" | "rule" | "approver", string>);
}

describe("workspaces with a seed", { timeout: 200_000 }, () => {
  it("hold it from the start, for the agent to read and write", async () => {
    const said = await asAgent(
      "cd /workspaces/desk; cat notes link ../repo/file; ls; stat -c %A bin/tool | cut -c4; echo more >>notes; tail -1 notes",
    );
    expect(said).toBe("of the seed\nof the seed\nfirst\nbin\nlink\nnotes\nx\nmore\nexit 0");
    expect(await asAgent("echo x >/workspaces/repo/file")).toContain("Read-only file system");
  });

  it("keep what was made of it when the seed changes, and another release is pushed", async () => {
    await asAgent("echo of the agent >/workspaces/desk/notes; rm /workspaces/desk/link");
    writeFileSync(join(project.dir, "seed/notes"), "of another seed\n");
    const ran = ok(await project.cdktf(["deploy", "tools", "--auto-approve"]));
    expect(ran.text).toContain("uploaded seed-desk");
    expect(await asAgent("cat /workspaces/desk/notes; ls /workspaces/desk")).toBe("of the agent\nbin\nnotes\nexit 0");
  });
});

describe("a secret that is granted", { timeout: 200_000 }, () => {
  const credentials = "cat $CREDENTIALS_DIRECTORY/secret.team; echo; ls $CREDENTIALS_DIRECTORY; env | grep -c canary";

  it("is read by its reader as a file, with nobody else's, and is in no environment", async () => {
    const said = await asAgent(credentials);
    expect(said).toBe("canary-team-one\nagent.puppet.mcp-token\nsecret.team\n0\nexit 1");
    const everywhere =
      "grep -rlE 'canary-(team|desk)' /etc/bailiwick /opt/bailiwick/releases /etc/systemd /proc/*/cmdline /proc/*/environ || true";
    expect(ok(await project.bailiwick(["ssh", "tools", "--", "sudo", "sh", "-c", `"${everywhere}"`])).stdout).toBe("");
  });

  it("is named with its readers, and when it changes these alone are restarted", async () => {
    const listed = ok(await project.bailiwick(["secrets", "check", "tools"])).stdout;
    expect(listed).toMatch(
      /^secret\.team +at hand +environment variable BW_TEAM_TOKEN +read by bailiwick-agent-puppet$/m,
    );
    expect(listed).toMatch(
      /^secret\.desk +at hand +environment variable BW_DESK_TOKEN +read by bailiwick-mcp-filesystem$/m,
    );
    project.env.BW_TEAM_TOKEN = "canary-team-two";
    const ran = ok(await project.bailiwick(["secrets", "rotate", "tools", "team", "--json"]));
    expect(JSON.parse(ran.stdout)).toMatchObject({
      rotated: ["secret.team"],
      restarted: ["bailiwick-agent-puppet.service"],
    });
    expect(await asAgent(credentials)).toContain("canary-team-two\n");
  });
});

describe("a shell whose commands wait for a person", { timeout: 200_000 }, () => {
  const tally = "/workspaces/desk/tally";
  const said = () => asAgent(`cat ${tally} 2>&1`);
  const run = async (...list: object[]) => {
    const named = list.map((args): [string, object] => ["run", args]);
    return (await calls("shell", named)).answers;
  };
  const asked = { command: `echo asked >>${tally}`, seconds: 30 };

  it("runs one once it was approved, that very one, and once", async () => {
    const [refused = ""] = await run(asked);
    const id = /as ([0-9a-f]{8}); nothing was done yet/.exec(refused)?.[1] ?? "";
    expect(await said()).toContain("No such file");
    const listed = ok(await project.bailiwick(["approve", "tools"])).stdout;
    expect(listed).toContain(`${id}  agent puppet calls run of shell/puppet`);
    expect(listed).toContain(`command: "${asked.command}"`);
    ok(await project.bailiwick(["approve", "tools", id]));
    const altered = [
      { ...asked, command: `echo other >>${tally}` },
      { ...asked, command: `${asked.command} ` },
      { ...asked, seconds: 31 },
      { ...asked, directory: "/tmp" },
    ];
    const answers = await run(...altered, asked, asked);
    for (const one of answers.slice(0, altered.length)) expect(one).toContain("needs a person's approval");
    expect(answers.at(-2)).toContain('"exitStatus":0');
    expect(answers.at(-1), "replayed").toContain("needs a person's approval");
    expect(await said()).toBe("asked\nexit 0");
    expect((await project.bailiwick(["approve", "tools", id])).code, "approved again").toBe(1);
  });

  it("runs none that was denied, and has a line in the log for each, with who approved it", async () => {
    const denied = { command: `echo denied >>${tally}` };
    const id = /as ([0-9a-f]{8});/.exec((await run(denied))[0] ?? "")?.[1] ?? "";
    ok(await project.bailiwick(["approve", "tools", id, "--deny"]));
    expect((await run(denied))[0]).toContain("needs a person's approval");
    expect(await said()).toBe("asked\nexit 0");
    const lines = await logged("shell/puppet");
    const waited = lines.filter(({ rule }) => rule === "approval-required");
    expect(waited.length).toBeGreaterThanOrEqual(8);
    expect(lines.filter((line) => !waited.includes(line))).toMatchObject([
      { rule: "grant:shell/puppet/run", approver: "admin", exitStatus: 0 },
    ]);
    expect(JSON.stringify(lines)).not.toContain("echo ");
  });
});

describe("MCP servers on a host", { timeout: 200_000 }, () => {
  it("are pinned there without a grant, and cannot be granted before they are classified", async () => {
    const ran = ok(await project.bailiwick(["mcp", "pin", "tools"]));
    expect(ran.stdout).toMatch(/^everything {2}echo +new +to classify/m);
    const lock = () => JSON.parse(readFileSync(join(project.dir, "mcp.lock.json"), "utf8")) as McpLock;
    expect(Object.keys(lock().servers)).toEqual(["everything", "filesystem"]);
    project.write(app(GRANTS, "waived"));
    const refused = await project.cdktf(["synth"]);
    expect(refused.code).not.toBe(0);
    expect(refused.text).toContain('received "echo", which nobody has classified');
    const reviewed = lock();
    for (const { tools } of Object.values(reviewed.servers))
      for (const tool of tools) tool.class = /^(?:write|edit|move|create)/.test(tool.name) ? "write" : "read";
    writeFileSync(join(project.dir, "mcp.lock.json"), JSON.stringify(reviewed));
    ok(await project.cdktf(["deploy", "tools", "--auto-approve"]));
  });

  it("serve what is granted, each process offline and as its own user, and nothing else", async () => {
    const { tools, answers } = await calls("everything", [
      ["echo", { message: "hello" }],
      ["get-env", {}],
      ["echo", { message: "hello", more: 1 }],
    ]);
    expect(tools).toEqual(["echo"]);
    expect(answers[0]).toContain("hello");
    expect(answers[1]).toContain("is not granted to agent");
    expect(answers[2]).toContain("the tool has no argument");
    const lines = await logged("everything");
    expect(lines.map(({ principal, tool, rule }) => [principal, tool, rule])).toEqual([
      ["agent/puppet", "echo", "grant:everything/echo"],
      ["agent/puppet", "get-env", "not-granted"],
      ["agent/puppet", "echo", "arguments-schema"],
    ]);
  });

  it("let a write through once after an admin has approved it, by whom the host itself names", async () => {
    const write = (content: string): [string, object] => ["write_file", { path: "/tmp/new.txt", content }];
    const first = await calls("filesystem", [
      write("one"),
      ["read_text_file", { path: "/tmp/open/../../etc/hostname" }],
    ]);
    const id = /as ([0-9a-f]{8});/.exec(first.answers[0] ?? "")?.[1] ?? "";
    expect(first.answers[1]).toContain("must be /tmp/open or a path below it");
    expect(ok(await project.bailiwick(["approve", "tools"])).stdout).toContain(
      `${id}  agent puppet calls write_file of filesystem`,
    );
    ok(await project.bailiwick(["approve", "tools", id]));
    const second = await calls("filesystem", [write("two"), write("one"), write("one")]);
    expect(second.answers[0]).toContain("needs a person's approval");
    expect(second.answers[1]).toContain("Successfully wrote");
    expect(second.answers[2]).toContain("needs a person's approval");
    const lines = await logged("filesystem");
    expect(lines.filter(({ approver }) => approver === "admin")).toHaveLength(1);
    expect((await project.bailiwick(["approve", "tools", id])).code).toBe(1);
  });

  it("are reached by no other way: no socket, no forged token", async () => {
    const reply = await script(`(async () => {
      const { connect } = await import("node:net");
      const reach = (path) => new Promise((done) => connect(path).on("connect", () => done("open")).on("error", (e) => done(e.code)));
      const response = await fetch(process.env.BAILIWICK_MCP_URL_EVERYTHING, { method: "POST", headers: { authorization: "Bearer dummy" } });
      console.log("GOT", response.status, await reach("/run/bailiwick-mcp/everything.sock"), await reach("/run/bailiwick-guard/admin.sock"));
    })()`);
    expect(reply).toContain("GOT 401 ENOENT ENOENT");
  });

  it("stand beside the agent's shell, which has its own user, the workspace itself, and no network", async () => {
    await asAgent("echo by-agent >/workspaces/desk/note");
    const command =
      "id -un; cat note; echo by-shell >note; cat /etc/bailiwick/agent/* 2>&1; echo >/dev/tcp/127.0.0.1/22";
    const { tools, answers } = await calls("shell", [["run", { command: `bash -c '${command}'` }]]);
    expect(tools).toEqual(["run"]);
    expect(answers[0]).toContain("bw-shell-puppet\\nby-agent\\n");
    expect(answers[0]).toContain("No such file or directory");
    expect(answers[0]).toMatch(/Address family not supported|Operation not permitted|Network is unreachable/);
    expect(answers[0]).toContain('"exitStatus":1');
    expect(await asAgent("cat /workspaces/desk/note")).toContain("by-shell");
  });

  it("are verified: every probe of a host with tools holds", async () => {
    const ran = await project.bailiwick(["verify", "tools", "--json"]);
    const report = JSON.parse(ran.stdout) as {
      probes: { id: string; verdict: string; found: string; reason?: string }[];
    };
    const wrong = report.probes
      .filter(({ verdict }) => verdict !== "held")
      .map(({ id, found, reason }) => `${id}: ${found} (${reason ?? ""})`);
    expect(wrong).toEqual([]);
    expect(report.probes.map(({ id }) => id)).toEqual(
      expect.arrayContaining([
        "agent/puppet/tools/everything",
        "agent/puppet/secret/team",
        "mcp/filesystem/secret/desk",
        "mcp/everything/network",
        "root/tool-grants",
        "mcp/filesystem/exposure",
        "agent/puppet/tools/shell",
        "shell/puppet/agent",
        "shell/puppet/live/desk",
        "shell/puppet/limits",
        "shell/puppet/network",
        "shell/puppet/exposure",
      ]),
    );
  });
});
