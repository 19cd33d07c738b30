import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ok, Project } from "../integration/support/project.ts";

// Two real OpenClaw versions, forward and back, on one host; and a third whose start fails, as a migration does that stops
// half way. What the agent was told is known in each, and after the way back it knows what it knew then.

const OLD = "2026.9.5";
const NEW = "2026.9.6";

const app = (version: string) => `
import { App, TerraformStack } from "cdktf";
import { Access, AgentHost, LocalMachine, ModelProvider, Runtime } from "KIT";

const app = new App();
const stack = new TerraformStack(app, "drill");
const host = new AgentHost(stack, "drill", {
  machine: new LocalMachine(stack, "machine", { engine: "nspawn", dataGiB: 2 }),
  access: Access.operator(),
  timeouts: { healthSeconds: 240 },
});
const agent = host.addAgent("main", { runtime: Runtime.openClaw({ version: "${version}" }) });
host.addModel("demo", ModelProvider.demo()).grantInvoke(agent, { models: ["demo"] });
host.addWorkspace("notes").grantReadWrite(agent);
app.synth();
`;

describe("an upgrade of OpenClaw", () => {
  const project = new Project(app(OLD));
  const ask = async (message: string) =>
    (JSON.parse(ok(await project.bailiwick(["ask", "drill", message, "--json"])).stdout) as { reply: string }).reply;
  const asRoot = async (script: string) => {
    const encoded = Buffer.from(`set -e\n${script}`).toString("base64");
    return ok(await project.bailiwick(["ssh", "drill", `echo ${encoded} | base64 -d | sudo -n sh`])).stdout.trim();
  };
  const state = "/var/lib/bailiwick/agents/main/state";
  const deploy = () => project.cdktf(["deploy", "drill", "--auto-approve"]);
  const runs = () => asRoot("systemctl show -p Description --value bailiwick-agent-main");

  beforeAll(async () => {
    for (const version of [OLD, NEW]) {
      project.write(app(version));
      await project.build("drill");
    }
    project.write(app(OLD));
    ok(await deploy());
  });
  afterAll(async () => {
    ok(await project.cdktf(["destroy", "drill", "--auto-approve"]));
    project.remove();
  });

  it("begins with the older one, which answers", async () => {
    expect(await runs()).toContain(OLD);
    expect(await ask("hello")).toContain("demo model");
    await asRoot(`echo told-to-the-older >${state}/drill`);
  });

  it("goes forward: the newer one has the state, and answers", async () => {
    project.write(app(NEW));
    ok(await deploy());
    expect(await runs()).toContain(NEW);
    expect(await ask("hello again")).toContain("demo model");
    expect(await asRoot(`cat ${state}/drill`)).toBe("told-to-the-older");
    await asRoot(`echo told-to-the-newer >>${state}/drill`);
  });

  it("goes back with the state that the older one had, and forward with that of the newer", async () => {
    ok(await project.bailiwick(["rollback", "drill"]));
    expect(await runs()).toContain(OLD);
    expect(await ask("and now?")).toContain("demo model");
    expect(await asRoot(`cat ${state}/drill`)).toBe("told-to-the-older");
    ok(await project.bailiwick(["rollback", "drill"]));
    expect(await runs()).toContain(NEW);
    expect(await asRoot(`cat ${state}/drill`)).toBe("told-to-the-older\ntold-to-the-newer");
  });

  it("is undone, state and all, when the newer one cannot use what it finds", async () => {
    ok(await project.bailiwick(["rollback", "drill"]));
    // When the newer one starts, its database is as a migration leaves it that stopped half way. What a unit runs before
    // itself sees the files that the unit sees: of /run and /opt next to nothing.
    const hold = "/run/systemd/system/bailiwick-agent-main.service.d";
    await asRoot(`
mkdir -p ${hold}
cat >/usr/local/sbin/spoil <<'END'
grep -q '"version": "${NEW}"' /opt/bailiwick/components/*/node_modules/openclaw/package.json || exit 0
for f in $(find ${state} -name '*.sqlite'); do echo half a migration >$f; done
END
printf '[Service]\\nExecStartPre=+/bin/sh /usr/local/sbin/spoil\\n' >${hold}/spoil.conf
systemctl daemon-reload`);
    // to Terraform nothing has changed since the deploy before the rollback
    const failed = await project.bailiwick(["push", "drill"]);
    expect(failed.code).not.toBe(0);
    expect(failed.text).toContain("did not become healthy and was undone");
    expect(await runs()).toContain(OLD);
    expect(await ask("are you well?")).toContain("demo model");
    expect(await asRoot(`cat ${state}/drill`)).toBe("told-to-the-older");
    expect(await asRoot(`grep -rl 'half a migration' ${state} || true`)).toBe("");
  });
});
