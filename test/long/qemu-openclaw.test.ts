import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { slotsOnDisk } from "../../runtime/local/machine-record.ts";
import { machineStatus } from "../../runtime/local/machine-status.ts";
import { checkPrerequisites, checkQemu } from "../../runtime/local/prerequisites.ts";
import { ok, Project } from "../integration/support/project.ts";
import { stopwatch } from "./stopwatch.ts";

// OpenClaw in a virtual machine. Where KVM boots no guest that is emulated, and each start of OpenClaw takes many minutes.

const APP = `
import { App, TerraformStack } from "cdktf";
import { Access, AgentHost, LocalMachine, ModelProvider } from "KIT";

const app = new App();
const stack = new TerraformStack(app, "vm");
const host = new AgentHost(stack, "vm", {
  machine: new LocalMachine(stack, "machine", { engine: "qemu", rootGiB: 4, dataGiB: 1 }),
  access: Access.operator(),
  timeouts: { baselineSeconds: 1800, healthSeconds: 3600, confirmSeconds: 600, drainSeconds: 60 },
});
host.addModel("demo", ModelProvider.demo()).grantInvoke(host.addAgent("main"), { models: ["demo"] });
app.synth();
`;

const lacking = [...(await checkPrerequisites()), ...checkQemu()].filter((check) => !check.ok);
for (const { id, found, fix } of lacking) console.log(`not run: virtual machines need ${id} (${found}); ${fix}`);

/** A busy computer gives QEMU a third of one of its processors. */
const TIMEOUT = { timeout: 5_400_000 };

describe.skipIf(lacking.length > 0)("OpenClaw in a virtual machine", () => {
  let project: Project;
  const saved = process.env.BAILIWICK_STATE;

  const timed = stopwatch();
  const bailiwick = (...args: string[]) => timed(args.slice(0, 2).join(" "), project.bailiwick(args));

  beforeAll(async () => {
    project = new Project(APP);
    process.env.BAILIWICK_STATE = project.env.BAILIWICK_STATE;
    await timed("image and components", project.build("vm"));
  });

  afterAll(async () => {
    await timed("destroy", project?.cdktf(["destroy", "vm", "--auto-approve"]));
    project?.remove();
    if (saved === undefined) delete process.env.BAILIWICK_STATE;
    else process.env.BAILIWICK_STATE = saved;
  });

  it("gets ready by cdktf deploy, which says beforehand that it takes long", { timeout: 7_200_000 }, async () => {
    const ran = await timed("deploy", project.cdktf(["deploy", "vm", "--auto-approve"]));
    const told = ran.text.split("\n").filter((line) => /KVM|emulated|serves|healthy|until its units/.test(line));
    console.log([...told.slice(0, 3), "…", ...told.slice(-3)].join("\n"));
    ok(ran);
    const status = await machineStatus((await slotsOnDisk())[0] ?? "");
    const emulated = status.state === "running" && status.emulated === true;
    console.log(`emulated: ${emulated}`);
    expect(/this machine is emulated/.test(ran.text)).toBe(emulated);
  });

  // OpenClaw's own bound of a minute for each task of its workers stands, and the first turn loads most of its code: on a busy
  // computer that question may end with "upstream provider timeout", which is said, and is asked again
  it("answers through the gateway, at the third question at the latest", TIMEOUT, async () => {
    const ask = () => bailiwick("ask", "vm", "are you there?", "--agent", "main", "--timeout", "1800");
    let ran = await ask();
    for (let asked = 1; asked < 3 && /HTTP 408: upstream provider timeout/.test(ran.text); asked++) {
      console.log(ran.text.trim().split("\n").at(-1));
      ran = await ask();
    }
    expect(ok(ran).stdout).toContain("this is the demo model of bailiwick");
  });

  it("has nothing to change in a dry run", TIMEOUT, async () => {
    const found = JSON.parse(ok(await bailiwick("push", "vm", "--dry-run", "--json")).stdout);
    expect(found).toMatchObject({ release: found.current, files: [], restart: [], stop: [], upload: [] });
  });

  it("holds in every probe that can be proven", TIMEOUT, async () => {
    const report = JSON.parse((await bailiwick("verify", "vm", "--allow-unprovable", "--json")).stdout);
    const rest = report.probes.filter((probe: { verdict: string }) => probe.verdict !== "held");
    console.log(rest.map((probe: object) => JSON.stringify(probe)).join("\n"));
    expect(rest.filter((probe: { verdict: string }) => probe.verdict === "broken")).toEqual([]);
    expect(report.held).toBeGreaterThanOrEqual(15);
  });

  it("has said in its log nothing of a bound that is not there", TIMEOUT, async () => {
    const log = ok(await bailiwick("ssh", "vm", "sudo journalctl -u bailiwick-agent-main --no-pager -o cat")).stdout;
    expect(log).toContain("gateway");
    expect(log).not.toContain("OpenClaw may end within seconds");
  });
});
