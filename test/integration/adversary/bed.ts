import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GUARD_PORT, principalPort, principalUid } from "../../../runtime/spec/names.ts";
import { formatMcpLock, toolHash } from "../../../runtime/spec/tool-definitions.ts";
import { Internet, METADATA, PRIVATE, PUBLIC } from "../support/internet.ts";
import { reviewed } from "../support/mcp-lock.ts";
import { ok, Project } from "../support/project.ts";
import type { Attempt } from "./attempt.ts";

const SUPPORT = join(import.meta.dirname, "../support");
const NAMES = {
  "granted.example.com": PUBLIC,
  "c2VjcmV0.granted.example.com": PUBLIC,
  "other.example.com": PUBLIC,
  "wild.example.com": PUBLIC,
  "a.wild.example.com": PUBLIC,
  "b.a.wild.example.com": PUBLIC,
  "notwild.example.com": PUBLIC,
  "inner.wild.example.com": PRIVATE,
  "neighbours.example.com": PUBLIC,
  "shell.example.com": PUBLIC,
  "api.anthropic.com": PUBLIC,
  "inner.example.com": PRIVATE,
  "metadata.example.com": METADATA,
  "rebind.example.com": [PUBLIC, PRIVATE],
};

const APP = `
import { App, TerraformStack } from "cdktf";
import { Access, AgentHost, Argument, LocalMachine, McpPackage, ModelProvider, Runtime, Secret } from "KIT";

const app = new App();
const stack = new TerraformStack(app, "siege");
const host = new AgentHost(stack, "siege", {
  machine: new LocalMachine(stack, "machine", { engine: "nspawn", rootGiB: 4, dataGiB: 1 }),
  access: Access.operator(),
});
const runtime = (env) => Runtime.command({
  source: ${JSON.stringify(join(SUPPORT, "puppet"))},
  argv: ["node", "./main.mjs"],
  env,
  health: "/healthz",
  ask: "/v1/chat/completions",
});
const puppet = host.addAgent("puppet", { runtime: runtime({}) });
const neighbour = host.addAgent("neighbour", { runtime: runtime({ NEIGHBOUR_SECRET: "of the neighbour alone" }) });
host.addModel("demo", ModelProvider.demo()).grantInvoke(puppet, { models: ["demo"] });
host.addModel("second", ModelProvider.demo()).grantInvoke(neighbour, { models: ["demo"] });
host.addModel("claude", ModelProvider.anthropic({ apiKey: Secret.fromEnv("SIEGE_KEY") })).grantInvoke(neighbour, { models: ["claude-sonnet-4-6"] });
host.addWorkspace("desk").grantReadWrite(puppet);
host.addWorkspace("library").grantRead(puppet);
host.addWorkspace("vault").grantReadWrite(neighbour);
puppet
  .allowEgress("granted.example.com")
  .allowEgress("inner.example.com")
  .allowEgress("metadata.example.com")
  .allowEgress("rebind.example.com")
  .allowEgress("*.wild.example.com")
  .allowAddress("${PRIVATE}", 22);
neighbour.allowEgress("neighbours.example.com").allowEgress("*.theirs.example.com");
puppet.grantShell().allowEgress("shell.example.com");
const server = (name, of, args) =>
  host.addMcpServer(name, McpPackage.npm("mcp", { package: "@modelcontextprotocol/server-" + of, args }));
server("everything", "everything", ["stdio"]).grantCall(puppet, ["echo"]).grantCall(neighbour, ["echo"]);
server("private", "everything", ["stdio"]).grantCall(neighbour, ["echo"]);
server("drifted", "everything", ["stdio"]).grantCall(puppet, ["echo"]);
const filesystem = server("filesystem", "filesystem", ["/tmp", "/workspaces/archive"]).grantCall(puppet, [
  "get_file_info",
  { tool: "read_text_file", arguments: { path: Argument.below("/tmp/open") } },
  { tool: "write_file", arguments: { path: Argument.below("/tmp") } },
]);
host.addWorkspace("archive", { quotaMiB: 64 }).grantRead(filesystem);
app.synth();
`;

const DESK = "/var/lib/bailiwick/workspaces/desk/siege";

export interface Outcome {
  readonly ok: boolean;
  readonly met: string;
}
export type Outcomes = Readonly<Record<string, Outcome>>;

/** A host with two agents, and all around them that attempts are aimed at. */
export class Bed {
  readonly #internet: Internet;
  readonly project: Project;

  private constructor(internet: Internet, project: Project) {
    this.#internet = internet;
    this.project = project;
  }

  static async start(groups: Readonly<Record<string, readonly Attempt[]>>): Promise<Bed> {
    const internet = await Internet.start(NAMES);
    const project = new Project(APP, { SIEGE_KEY: "siege-provider-key" }, internet);
    const bed = new Bed(internet, project);
    try {
      cpSync(join(SUPPORT, "mcp"), join(project.dir, "mcp"), { recursive: true });
      writeFileSync(join(project.dir, "mcp.lock.json"), await lock());
      await project.build("siege");
      ok(await project.cdktf(["deploy", "siege", "--auto-approve"]));
      await bed.bring(groups);
      await bed.#surround();
      await bed.#facts();
      return bed;
    } catch (error) {
      await bed.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.project.cdktf(["destroy", "siege", "--auto-approve"]);
    this.project.remove();
    this.#internet.close();
  }

  bailiwick(...args: string[]) {
    return this.project.bailiwick(args);
  }

  /** A script of sh as root on the host; what it printed. */
  async asRoot(script: string): Promise<string> {
    const encoded = Buffer.from(`set -e\n${script}`).toString("base64");
    return ok(await this.project.bailiwick(["ssh", "siege", `echo ${encoded} | base64 -d | sudo -n sh`])).stdout;
  }

  /** What an agent says to an order. */
  async order(agent: "puppet" | "neighbour", text: string): Promise<string> {
    const ran = ok(await this.project.bailiwick(["ask", "siege", text, "--agent", agent, "--json"]));
    return (JSON.parse(ran.stdout) as { reply: string }).reply;
  }

  /** The attempts of a group, tried by the agent itself, in its own unit. */
  async asAgent(group: string): Promise<Outcomes> {
    const folder = "/workspaces/desk/siege";
    const said = await this.order(
      "puppet",
      `sh python3 -I ${folder}/run.py ${folder}/${group}.json ${folder}/facts.json`,
    );
    return parsed(said.replace(/exit 0$/, ""));
  }

  /** The attempts of a group, tried by a command of the agent's shell. */
  async asShell(group: string): Promise<Outcomes> {
    const folder = "/workspaces/desk/siege";
    const { output } = await this.inShell(`python3 -I ${folder}/run.py ${folder}/${group}.json ${folder}/facts.json`);
    return parsed(output);
  }

  /** A command that the agent has its shell run. */
  async inShell(command: string): Promise<{ exitStatus: number; output: string }> {
    const script = `
import json, os, urllib.request
headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
headers["authorization"] = "Bearer " + open(os.environ["CREDENTIALS_DIRECTORY"] + "/agent.puppet.mcp-token").read()
def send(id, method, params):
    body = json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode()
    with urllib.request.urlopen(urllib.request.Request(os.environ["BAILIWICK_MCP_URL_SHELL"], body, headers)) as answer:
        headers.setdefault("mcp-session-id", answer.headers["mcp-session-id"])
        return json.load(answer)["result"]
send(0, "initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "s", "version": "1"}})
result = send(1, "tools/call", {"name": "run", "arguments": {"command": ${JSON.stringify(command)}, "seconds": 45}})
print(json.dumps({"exitStatus": result["structuredContent"]["exitStatus"], "output": result["content"][0]["text"].split("\\n", 1)[1]}))`;
    const encoded = Buffer.from(script).toString("base64");
    const said = await this.order("puppet", `sh echo ${encoded} | base64 -d | python3 -I -`);
    return JSON.parse(said.replace(/exit 0$/, "")) as { exitStatus: number; output: string };
  }

  /** One more attempt of the agent's, made up on the way. */
  async attempt(code: string): Promise<Outcome> {
    const one = Buffer.from(JSON.stringify({ one: code })).toString("base64");
    const folder = "/workspaces/desk/siege";
    const said = await this.order(
      "puppet",
      `sh echo ${one} | base64 -d >/tmp/one.json; python3 -I ${folder}/run.py /tmp/one.json ${folder}/facts.json`,
    );
    return parsed(said.replace(/exit 0$/, "")).one ?? { ok: false, met: "nothing told" };
  }

  /** The controls of all groups, by whom they name. */
  async controls(): Promise<Outcomes> {
    const said = await this.asRoot(`
cd /srv/siege
python3 -I run.py root.json facts-root.json
echo
setpriv --reuid mallory --regid mallory --clear-groups python3 -I run.py user.json facts-user.json`);
    const [root = "", user = ""] = said.split(/\n\n/);
    return { ...parsed(root), ...parsed(user) };
  }

  /** Brings attempts to the host: for the agent into its workspace, for the controls beside it. */
  async bring(groups: Readonly<Record<string, readonly Attempt[]>>): Promise<void> {
    const files: Record<string, object> = {};
    const by = (code: (attempt: Attempt) => string, attempts: readonly Attempt[]) =>
      Object.fromEntries(attempts.map((attempt) => [attempt.name, code(attempt)]));
    for (const [group, attempts] of Object.entries(groups)) files[group] = by(({ code }) => code, attempts);
    const all = Object.values(groups).flat();
    for (const control of ["root", "user"])
      files[control] = by(
        ({ code, controlCode }) => controlCode ?? code,
        all.filter((attempt) => attempt.control === control),
      );
    await this.#upload(
      (folder) => {
        cpSync(join(import.meta.dirname, "run.py"), join(folder, "run.py"));
        for (const [name, content] of Object.entries(files))
          writeFileSync(join(folder, `${name}.json`), JSON.stringify(content));
      },
      `
install -d -m 755 ${DESK}
cp run.py ${Object.keys(groups)
        .map((group) => `${group}.json`)
        .join(" ")} ${DESK}/`,
    );
  }

  /** Unpacks a folder to /srv/siege on the host, and runs a script there. */
  async #upload(fill: (folder: string) => void, script: string): Promise<void> {
    const folder = mkdtempSync(join(tmpdir(), "bailiwick-siege-"));
    try {
      fill(folder);
      const packed = execFileSync("tar", ["-C", folder, "-cz", "."]).toString("base64");
      await this.asRoot(`
install -d -m 755 /srv/siege
cd /srv/siege
echo ${packed} | base64 -d | tar -xz --no-same-owner --no-same-permissions
chmod 755 /srv/siege
${script}`);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  async #surround(): Promise<void> {
    await this.#upload(
      (folder) => {
        for (const name of ["world.py", "holder.py"]) cpSync(join(import.meta.dirname, name), join(folder, name));
        makeCertificate(folder);
      },
      `
cd /var/lib/bailiwick/workspaces
install -D -m 644 /srv/siege/holder.py vault/siege/holder.py
echo own >/var/lib/bailiwick/agents/puppet/home/siege-own
echo vault-secret >vault/siege-secret
echo book >library/siege-book
echo old >archive/siege-old
useradd --no-create-home --uid 1777 mallory
install -d -o mallory /srv/siege/run
systemd-run --quiet --unit=siege-world -p StandardOutput=file:/srv/siege/world.json python3 -I /srv/siege/world.py /srv/siege
for i in $(seq 100); do test -s /srv/siege/world.json && break; sleep 0.1; done
test -s /srv/siege/world.json || { journalctl -qu siege-world >&2; exit 1; }`,
    );
    await this.order(
      "neighbour",
      "sh setsid python3 -I /workspaces/vault/siege/holder.py >/tmp/holder.log 2>&1 </dev/null & sleep 1; cat /tmp/holder.log",
    );
  }

  /** Facts of the host: the attacker is taken to know them all, but for what is secret. */
  async #facts(): Promise<void> {
    const facts = {
      public4: PUBLIC,
      private4: PRIVATE,
      metadata4: METADATA,
      neighbourPort: principalPort(principalUid("agent/neighbour")),
      puppetPort: principalPort(principalUid("agent/puppet")),
      modelPort: principalPort(principalUid("model/demo")),
      guardPort: GUARD_PORT,
      gatewayEgressPort: principalUid("gateway"),
      neighbourEgressPort: principalUid("agent/neighbour"),
    };
    const script = `
import json, os, re, subprocess, urllib.request
facts = json.loads('''${JSON.stringify(facts)}''')
facts.update(json.load(open("/srv/siege/world.json")))
def shown(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
for name, unit in (("gatewayPid", "gateway"), ("neighbourPid", "agent-neighbour"), ("puppetPid", "agent-puppet")):
    facts[name] = int(shown("systemctl", "show", "--value", "-p", "MainPID", f"bailiwick-{unit}"))
facts["holderPid"] = int(shown("pgrep", "-u", "bw-agent-neighbour", "-f", "^python3 -I /workspaces/vault/siege/holder.py").split()[0])
facts["resolver"] = re.search(r"(?m)^nameserver (\\d[\\d.]+)", open("/etc/resolv.conf").read())[1]
facts["component"] = [d for d in os.scandir("/opt/bailiwick/components") if os.path.exists(d.path + "/reach.mjs")][0].path
def secret(agent, name):
    return open(f"/run/credentials/bailiwick-agent-{agent}.service/agent.{agent}.{name}").read()
host = {**facts, "workspaces": "/var/lib/bailiwick/workspaces", "execPath": "/srv/siege/run"}
known = {"key": secret("puppet", "virtual-key"), "neighbourKey": secret("neighbour", "virtual-key"), "token": secret("puppet", "mcp-token"), "neighbourToken": secret("neighbour", "mcp-token")}
start = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "s", "version": "1"}}}
headers = {"content-type": "application/json", "accept": "application/json, text/event-stream", "authorization": "Bearer " + known["neighbourToken"]}
with urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:${GUARD_PORT}/everything", json.dumps(start).encode(), headers)) as answer:
    host["neighbourSession"] = facts["neighbourSession"] = answer.headers["mcp-session-id"]
def write(path, value, mode):
    with open(path, "w") as f:
        json.dump(value, f)
    os.chmod(path, mode)
write("/srv/siege/facts-user.json", host, 0o644)
write("/srv/siege/facts-root.json", {**host, **known}, 0o600)
write("/var/lib/bailiwick/workspaces/desk/siege/facts.json", {**facts, "workspaces": "/workspaces", "execPath": "/dev/shm"}, 0o644)
`;
    await this.asRoot(`python3 -I - <<'SIEGE'\n${script}\nSIEGE`);
  }
}

function parsed(text: string): Outcomes {
  try {
    return JSON.parse(text) as Outcomes;
  } catch {
    throw new Error(`the attempts did not tell how they went: ${text.slice(0, 2000)}`);
  }
}

function makeCertificate(folder: string): void {
  const files = ["-keyout", join(folder, "key.pem"), "-out", join(folder, "certificate.pem")];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=fake", "-days", "2"];
  execFileSync("openssl", ["req", "-x509", ...key, ...files], { stdio: "ignore" });
}

/** The reviewed tools; of server `drifted` not as that server describes them. */
async function lock(): Promise<string> {
  const everything = await reviewed("@modelcontextprotocol/server-everything", ["stdio"]);
  const otherwise = everything.tools.map((tool) => {
    if (tool.name !== "echo") return tool;
    const changed = { ...tool, description: "Says what it is told. Reviewed when it was harmless." };
    return { ...changed, hash: toolHash(changed) };
  });
  const servers = {
    everything,
    private: everything,
    drifted: { ...everything, tools: otherwise },
    filesystem: await reviewed("@modelcontextprotocol/server-filesystem", ["/tmp"]),
  };
  return formatMcpLock({ version: 1, servers });
}
