import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Internet, PUBLIC } from "../integration/support/internet.ts";
import { ok, Project } from "../integration/support/project.ts";

// A real host whose firewall, egress proxy or resolver is broken when it boots: closed. An agent without the rules does not run,
// and one without the proxy reaches nothing.

const PUPPET = join(import.meta.dirname, "../integration/support/puppet");
const APP = `
import { App, TerraformStack } from "cdktf";
import { Access, AgentHost, LocalMachine, ModelProvider, Runtime } from "KIT";

const app = new App();
const stack = new TerraformStack(app, "frail");
const host = new AgentHost(stack, "frail", {
  machine: new LocalMachine(stack, "machine", { engine: "nspawn", rootGiB: 4, dataGiB: 1 }),
  access: Access.operator(),
});
const puppet = host.addAgent("puppet", {
  runtime: Runtime.command({ source: ${JSON.stringify(PUPPET)}, argv: ["node", "./main.mjs"], health: "/healthz", ask: "/v1/chat/completions" }),
});
host.addModel("demo", ModelProvider.demo()).grantInvoke(puppet, { models: ["demo"] });
puppet.allowEgress("granted.example.com").allowEgress("*.wild.example.com");
app.synth();
`;

const missing = process.getuid?.() === 0 ? undefined : "a machine needs root";
if (missing !== undefined) console.log(`not run: hosts that are broken at boot: ${missing}`);

describe.skipIf(missing !== undefined)("a host that boots", () => {
  let internet: Internet;
  let project: Project;

  const asRoot = async (script: string) => {
    const encoded = Buffer.from(script).toString("base64");
    return ok(await project.bailiwick(["ssh", "frail", `echo ${encoded} | base64 -d | sudo -n sh`])).stdout.trim();
  };
  /** Breaks a file, or a program, as no release does; boots anew. @returns what undoes it, and boots anew */
  const bootWithout = async (path: string) => {
    // a program that runs cannot be written, but another can take its place
    await asRoot(
      `set -e; cp -p "${path}" /root/kept; cp -p "${path}" /root/broken; echo broken >/root/broken; mv /root/broken "${path}"; sync`,
    );
    ok(await project.bailiwick(["local", "reboot", "frail"]));
    return async () => {
      await asRoot(`set -e; mv /root/kept "${path}"; sync`);
      ok(await project.bailiwick(["local", "reboot", "frail"]));
    };
  };
  /** Processes of principals, once nothing is starting any more. */
  const principals = () =>
    asRoot(`
for i in $(seq 60); do
  [ "$(systemctl list-jobs --no-legend | wc -l)" = 0 ] && ! systemctl list-units --no-legend --state=activating 'bailiwick-*' | grep -q . && break
  sleep 0.5
done
ps -eo uid=,args= | awk '$1 >= 20000 && $1 <= 29999'`);
  const asAgent = async (command: string) => {
    const ran = ok(await project.bailiwick(["ask", "frail", `sh ${command}`, "--json"]));
    return (JSON.parse(ran.stdout) as { reply: string }).reply;
  };
  const reach = (name: string, address = name) => {
    const script = `
import socket, ssl
with ssl._create_unverified_context().wrap_socket(socket.create_connection(("${address}", 443), 9), server_hostname="${name}") as s:
    s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    print(s.recv(9999).decode())`;
    return asAgent(`echo ${Buffer.from(script).toString("base64")} | base64 -d | python3 -I -`);
  };

  beforeAll(async () => {
    // what gets out of a host that is broken reaches nothing real
    internet = await Internet.start({ "granted.example.com": PUBLIC, "a.wild.example.com": PUBLIC });
    project = new Project(APP, {}, internet);
    await project.build("frail");
    ok(await project.cdktf(["deploy", "frail", "--auto-approve"]));
  });
  afterAll(async () => {
    ok(await project.cdktf(["destroy", "frail", "--auto-approve"]));
    project.remove();
    internet.close();
  });

  it("whole runs its agent, which reaches what it was granted: the control", async () => {
    ok(await project.bailiwick(["local", "reboot", "frail"]));
    expect(await principals()).toContain("main.mjs");
    for (const name of ["granted.example.com", "a.wild.example.com"]) expect(await reach(name)).toContain("served by");
  });

  it.each([
    ["the rules of every host", "/usr/lib/bailiwick/base.nft"],
    ["the rules of its release", "$(readlink -f /opt/bailiwick/current)/etc/firewall.nft"],
    ["the program that holds the rules", "/usr/lib/bailiwick/firewall"],
  ])("without %s runs no principal", async (_, path) => {
    const mend = await bootWithout(path);
    try {
      expect(await principals()).toBe("");
    } finally {
      await mend();
    }
    expect(await principals(), "mended").toContain("main.mjs");
  });

  it.each([
    ["the egress proxy", "/usr/sbin/haproxy", ["granted.example.com", "a.wild.example.com"]],
    [
      "the resolver of wildcards",
      "$(readlink -f /opt/bailiwick/current)/etc/resolver/names.json",
      ["a.wild.example.com"],
    ],
  ])("without %s reaches nothing by it", async (_, path, names) => {
    const mend = await bootWithout(path);
    try {
      for (const name of names) {
        const said = await reach(name);
        expect(said).not.toContain("served by");
        expect(said).toMatch(/exit [1-9]/);
      }
      expect(await reach("other.example.com", PUBLIC)).not.toContain("served by");
    } finally {
      await mend();
    }
    for (const name of names) expect(await reach(name), "mended").toContain("served by");
  });
});
