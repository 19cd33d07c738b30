import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Internet, PUBLIC } from "./support/internet.ts";
import { ok, Project } from "./support/project.ts";
import { packTools } from "./support/toolbox.ts";

// What programs make of granted names on a real host: none is told of a proxy, each resolves and connects as it always does.
// And what becomes of their connections while the grants change. The steps build on each other.

const NAMES = {
  "granted.example.com": PUBLIC,
  "other.example.com": PUBLIC,
  "wild.example.com": PUBLIC,
  "a.wild.example.com": PUBLIC,
  "a.late.example.com": PUBLIC,
  "late.example.com": PUBLIC,
};
const ALL = ["granted.example.com", "*.wild.example.com"];
const SERVED = `served by ${PUBLIC} as`;

const app = (source: string, names: readonly string[]) => `
import { App, TerraformStack } from "cdktf";
import { Access, AgentHost, LocalMachine, Runtime } from "KIT";

const app = new App();
const stack = new TerraformStack(app, "reach");
const machine = new LocalMachine(stack, "machine", { engine: "nspawn", rootGiB: 4, dataGiB: 1 });
const host = new AgentHost(stack, "reach", { machine, access: Access.operator() });
const agent = (name) => host.addAgent(name, {
  runtime: Runtime.command({ source: ${JSON.stringify(source)}, argv: ["node", "./main.mjs"], health: "/healthz", ask: "/v1/chat/completions" }),
});
const puppet = agent("puppet");
for (const name of ${JSON.stringify(names)}) puppet.allowEgress(name);
agent("bare");
app.synth();
`;

let folder: string;
let source: string;
let internet: Internet;
let project: Project;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bailiwick-clients-"));
  source = join(folder, "puppet");
  cpSync(resolve(import.meta.dirname, "support/puppet"), source, { recursive: true });
  packTools(join(source, "tools"));
  // the library itself, and not the copy of it that is Node.js' own fetch
  cpSync(resolve(import.meta.dirname, "../../node_modules/undici"), join(source, "undici"), { recursive: true });
  internet = await Internet.start(NAMES, aRepository(folder));
  project = new Project(app(source, ALL), {}, internet);
  await project.build("reach");
  ok(await project.cdktf(["deploy", "reach", "--auto-approve"]));
});
afterAll(async () => {
  if (project !== undefined) {
    await project.cdktf(["destroy", "reach", "--auto-approve"]);
    project.remove();
  }
  internet?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A folder with one repository, as a plain web server gives it to git. */
function aRepository(parent: string): string {
  const [work, served] = [join(parent, "work"), join(parent, "repositories")];
  mkdirSync(work);
  mkdirSync(served);
  writeFileSync(join(work, "README"), "cloned over https\n");
  const git = (...args: string[]) =>
    execFileSync("git", ["-c", "user.name=test", "-c", "user.email=test@example.com", ...args], { stdio: "ignore" });
  git("-C", work, "init", "--quiet");
  git("-C", work, "add", ".");
  git("-C", work, "commit", "--quiet", "-m", "first");
  git("clone", "--quiet", "--bare", work, join(served, "kit.git"));
  git("-C", join(served, "kit.git"), "update-server-info");
  return served;
}

/** A command of an agent's, in its component's folder; what it printed. */
async function asAgent(command: string, agent = "puppet"): Promise<string> {
  const encoded = Buffer.from(command).toString("base64");
  const order = `sh echo ${encoded} | base64 -d >/tmp/order && node=$0 sh /tmp/order`;
  const ran = ok(await project.bailiwick(["ask", "reach", order, "--agent", agent, "--json"]));
  return (JSON.parse(ran.stdout) as { reply: string }).reply;
}
const asRoot = async (command: string) => ok(await project.bailiwick(["ssh", "reach", `sudo ${command}`])).stdout;
const script = (text: string) => `NODE_TLS_REJECT_UNAUTHORIZED=0 "$node" --input-type=module -e '${text}' 2>&1`;
const deploy = async (names: readonly string[]) => {
  project.write(app(source, names));
  ok(await project.cdktf(["deploy", "reach", "--auto-approve"]));
};

/** Programs as they come: what each does with a URL, but for the certificate, which nobody has signed. */
const CLIENTS: Readonly<Record<string, (name: string) => string>> = {
  curl: (name) => `./tools/curl --silent --show-error --insecure --max-time 8 https://${name}/ 2>&1`,
  "git over https": (name) =>
    `rm -rf /tmp/kit; GIT_SSL_NO_VERIFY=1 HOME=/tmp ./tools/git clone --quiet https://${name}/git/kit.git /tmp/kit 2>&1 && cat /tmp/kit/README`,
  "Node.js' fetch": (name) => script(`console.log(await (await fetch("https://${name}/")).text())`),
  undici: (name) =>
    script(
      `const { Agent, request } = (await import("./undici/index.js")).default; const dispatcher = new Agent({ connect: { rejectUnauthorized: false } }); console.log(await (await request("https://${name}/", { dispatcher })).body.text())`,
    ),
  "Python's urllib": (name) =>
    `python3 -c 'import ssl, urllib.request as u; print(u.urlopen("https://${name}/", timeout=8, context=ssl._create_unverified_context()).read().decode())' 2>&1`,
  "a WebSocket": (name) =>
    script(
      `const socket = new WebSocket("wss://${name}/"); let first; socket.onmessage = ({ data }) => { if (first) { console.log(first, data); process.exit(); } first = data; socket.send("and back"); }; socket.onerror = () => { console.log("no socket"); process.exit(1); }`,
    ),
};
const ANSWERS: Readonly<Record<string, (name: string) => string>> = {
  "git over https": () => "cloned over https",
  "a WebSocket": (name) => `${SERVED} ${name} and back`,
};

describe("clients without a word of a proxy", { timeout: 200_000 }, () => {
  it("have no variable that names one", async () => {
    expect(await asAgent("env | grep -ic proxy")).toMatch(/^0/);
  });

  it.each(Object.keys(CLIENTS))("%s reaches an exact name and one by a wildcard, and no other", async (client) => {
    const command = CLIENTS[client] ?? (() => "");
    const granted = ["granted.example.com", "a.wild.example.com"];
    const others = ["other.example.com", "wild.example.com"];
    const order = [...granted, ...others].map(
      (name) => `timeout 8 sh -c ${quoted(command(name))}; echo " code $?"; echo ---`,
    );
    const said = (await asAgent(order.join("\n"))).split("---");
    for (const [i, name] of granted.entries()) {
      expect(said[i], name).toContain((ANSWERS[client] ?? ((one) => `${SERVED} ${one}`))(name));
      expect(said[i], name).toContain(" code 0");
    }
    for (const [i, name] of others.entries()) {
      expect(said[i + granted.length], name).toMatch(/ code [1-9]/);
      expect(said[i + granted.length], name).not.toMatch(/served by|cloned/);
    }
  });

  it("reach nothing from an agent without a grant", async () => {
    const said = await asAgent(CLIENTS.curl?.("granted.example.com") ?? "", "bare");
    expect(said).toMatch(/Could not resolve host/);
  });
});

function quoted(command: string): string {
  return `'${command.replaceAll("'", "'\\''")}'`;
}

/** Opens a WebSocket that tells in a file what becomes of it, and answers it on. */
const hold = (name: string, file: string) =>
  asAgent(
    `setsid sh -c ${quoted(
      script(
        `import { appendFileSync as note } from "node:fs"; const socket = new WebSocket("wss://${name}/"); socket.onmessage = () => { note("/tmp/${file}", "alive\\n"); setTimeout(() => socket.send("on"), 500); }; socket.onclose = () => { note("/tmp/${file}", "cut\\n"); process.exit(); }`,
      ),
    )} >/dev/null 2>&1 </dev/null & sleep 2; tail -n 1 /tmp/${file}`,
  );
const heldLast = (file: string) => asAgent(`: >/tmp/${file}; sleep 2; tail -n 1 /tmp/${file}`);

describe("grants that change while connections stand", { timeout: 300_000 }, () => {
  const startOf = (unit: string) => asRoot(`systemctl show -p MainPID --value bailiwick-${unit}`);

  it("a wildcard more is reached by who has one, whose program and connections go on", async () => {
    expect(await hold("granted.example.com", "exact")).toContain("alive");
    expect(await hold("a.wild.example.com", "wild")).toContain("alive");
    expect(await asAgent(CLIENTS.curl?.("a.late.example.com") ?? "")).not.toContain("served");
    const before = await Promise.all(["agent-puppet", "egress", "resolver"].map(startOf));
    await deploy([...ALL, "*.late.example.com"]);
    expect(await Promise.all(["agent-puppet", "egress", "resolver"].map(startOf)), "processes").toEqual(before);
    expect(await asAgent(CLIENTS.curl?.("a.late.example.com") ?? "")).toContain(`${SERVED} a.late.example.com`);
    expect(await heldLast("exact")).toContain("alive");
    expect(await heldLast("wild")).toContain("alive");
  });

  it("one that is taken back is cut, and what stays is not", async () => {
    await deploy(["granted.example.com", "*.late.example.com"]);
    expect(await asAgent("tail -n 1 /tmp/wild")).toContain("cut");
    expect(await heldLast("exact")).toContain("alive");
    expect(await asAgent(CLIENTS.curl?.("a.wild.example.com") ?? "")).not.toContain("served");
  });

  it("an exact name more is reached too, by names that the host's resolver is asked for after many others", async () => {
    await deploy(["granted.example.com", "late.example.com", "*.late.example.com"]);
    expect(await asAgent(CLIENTS.curl?.("late.example.com") ?? "")).toContain(`${SERVED} late.example.com`);
    for (let i = 0; i < 3; i++)
      expect(await asAgent(CLIENTS.curl?.("a.late.example.com") ?? "")).toContain(`${SERVED} a.late.example.com`);
  });
});
