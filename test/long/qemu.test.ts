import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkPrerequisites, checkQemu } from "../../runtime/local/prerequisites.ts";
import { ok, Project } from "../integration/support/project.ts";
import { serveOnLoopback, tracesOf } from "../runtime/local/guest.ts";
import { stopwatch } from "./stopwatch.ts";

// One host as a virtual machine, from `cdktf deploy` to `cdktf destroy`, with what only a kernel of its own can show. Where
// KVM boots no guest it is emulated and takes minutes, so the steps build on one machine. OpenClaw is in qemu-openclaw.test.ts.

const APP = `
import { App, TerraformStack } from "cdktf";
import { Access, AgentHost, LocalMachine, Runtime } from "KIT";

const app = new App();
const stack = new TerraformStack(app, "vm");
const host = new AgentHost(stack, "vm", {
  machine: new LocalMachine(stack, "machine", { engine: "qemu", rootGiB: 4, dataGiB: 1 }),
  access: Access.operator(),
  timeouts: { baselineSeconds: 900, healthSeconds: 900, confirmSeconds: 300, drainSeconds: 60 },
});
host.addAgent("echo", {
  runtime: Runtime.command({
    source: ${JSON.stringify(resolve(import.meta.dirname, "../../examples/command-agent/daemon"))},
    argv: ["node", "./main.mjs"],
    env: { GREETING: "hello" },
    health: "/healthz",
    ask: "/v1/chat/completions",
  }),
});
app.synth();
`;

const lacking = [...(await checkPrerequisites()), ...checkQemu()].filter((check) => !check.ok);
for (const { id, found, fix } of lacking) console.log(`not run: virtual machines need ${id} (${found}); ${fix}`);

const LONG = 900_000;

describe.skipIf(lacking.length > 0)("a host as a virtual machine", () => {
  let project: Project;
  let slot: string;
  let service: { readonly port: number; readonly stop: () => void };
  const saved = process.env.BAILIWICK_STATE;

  const timed = stopwatch();
  const bailiwick = (...args: string[]) => timed(args.slice(0, 2).join(" "), project.bailiwick(args));
  const asRoot = async (command: string) =>
    ok(await bailiwick("ssh", "vm", `sudo sh -c '${command.replaceAll("'", "'\\''")}'`)).stdout.trim();

  beforeAll(async () => {
    service = await serveOnLoopback();
    project = new Project(APP);
    process.env.BAILIWICK_STATE = project.env.BAILIWICK_STATE;
    await timed("image and components", project.build("vm"));
  });

  afterAll(async () => {
    service?.stop();
    await project?.cdktf(["destroy", "vm", "--auto-approve"]);
    project?.remove();
    if (saved === undefined) delete process.env.BAILIWICK_STATE;
    else process.env.BAILIWICK_STATE = saved;
  });

  it("is brought up by cdktf deploy, and serves", { timeout: LONG }, async () => {
    const ran = await timed("deploy", project.cdktf(["deploy", "vm", "--auto-approve"]));
    console.log(
      ran.text
        .split("\n")
        .filter((line) => /KVM|ssh answers|serves|still creating/i.test(line))
        .slice(-6)
        .join("\n"),
    );
    ok(ran);
    slot = readdirSync(join(project.dir, "state/local"))[0] ?? "";
    expect(JSON.parse(project.read(`state/local/${slot}/machine.json`))).toMatchObject({ slot, engine: "qemu" });
    expect(tracesOf(slot).filter((line) => line.includes("qemu-system"))).toHaveLength(1);
    const status = JSON.parse(ok(await bailiwick("status", "vm", "--json")).stdout);
    expect(status).toMatchObject({ host: "vm", upToDate: true, lock: null, failedUnits: [] });
    expect(status.units.map((unit: { name: string; ready: boolean }) => [unit.name, unit.ready])).toContainEqual([
      "bailiwick-agent-echo.service",
      true,
    ]);
  });

  it("answers", { timeout: LONG }, async () => {
    expect(ok(await bailiwick("ask", "vm", "are you there?")).stdout).toContain("are you there?");
  });

  it("has a kernel of its own, which enforces what a container's does not", { timeout: LONG }, async () => {
    const facts = await asRoot(`
      echo virt: $(systemd-detect-virt)
      echo audit: $(auditctl -s | head -1)
      echo rules: $(auditctl -l | grep -c bailiwick)
      echo apparmor: $(cat /sys/module/apparmor/parameters/enabled)
      echo data: $(findmnt -no SOURCE,FSTYPE /var/lib/bailiwick) $(readlink -f /dev/disk/by-id/bailiwick-data)
      take() { systemd-run -q --wait --collect "$@" python3 -c "bytearray(200 << 20)" >/dev/null 2>&1; echo $?; }
      echo memory free: $(take) bound: $(take -p MemoryMax=50M -p MemorySwapMax=0)
      many() { systemd-run -q --wait --collect "$@" sh -c "for i in 1 2 3 4 5 6 7 8; do sleep 2 & done" >/dev/null 2>&1; echo $?; }
      echo tasks free: $(many) bound: $(many -p TasksMax=4)`);
    const fact = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(facts)?.[1] ?? facts;
    expect(fact("virt")).toMatch(/^(qemu|kvm)$/);
    expect(fact("audit")).toBe("enabled 2");
    expect(Number(fact("rules"))).toBeGreaterThanOrEqual(3);
    expect(fact("apparmor")).toBe("Y");
    expect(fact("data")).toBe("/dev/vda xfs /dev/vda");
    expect(facts).toMatch(/^memory free: 0 bound: [1-9]\d*$/m);
    expect(facts).toMatch(/^tasks free: 0 bound: [1-9]\d*$/m);
  });

  it("cannot reach a service on the operator's loopback, by any address of the way out", {
    timeout: LONG,
  }, async () => {
    const connect = (address: string) =>
      `timeout 20 bash -c "exec 3<>/dev/tcp/${address}/${service.port} && cat <&3" 2>/dev/null || echo refused`;
    const addresses = ["127.0.0.1", "10.77.1.1", "10.77.1.2", "10.77.0.1", "10.77.0.2"];
    expect(ok(await project.run("sh", ["-c", connect("127.0.0.1")])).stdout).toBe("reached");
    const answers = await asRoot(addresses.map(connect).join("\n"));
    expect(answers.split("\n")).toEqual(addresses.map(() => "refused"));
  });

  it("holds in every probe that can be proven", { timeout: LONG }, async () => {
    const report = JSON.parse((await bailiwick("verify", "vm", "--allow-unprovable", "--json")).stdout);
    const rest = report.probes.filter((probe: { verdict: string }) => probe.verdict !== "held");
    console.log(rest.map((probe: object) => JSON.stringify(probe)).join("\n"));
    expect(rest.filter((probe: { verdict: string }) => probe.verdict === "broken")).toEqual([]);
    expect(report.held).toBeGreaterThanOrEqual(15);
  });

  it("is served and pushed to with its clock a year behind", { timeout: LONG }, async () => {
    await asRoot('systemctl stop systemd-timesyncd; date -s "1 year ago"');
    try {
      expect(JSON.parse(ok(await bailiwick("status", "vm", "--json")).stdout)).toMatchObject({ upToDate: true });
      const pushed = JSON.parse(ok(await bailiwick("push", "vm", "--json")).stdout);
      expect(pushed).toMatchObject({ restarted: [], reloaded: [], stopped: [], healthy: true });
    } finally {
      await asRoot('date -s "1 year"; systemctl start --no-block systemd-timesyncd');
    }
  });

  it("comes back from a reboot, with its agent, by itself", { timeout: LONG }, async () => {
    const bootId = await asRoot("cat /proc/sys/kernel/random/boot_id");
    ok(await bailiwick("local", "reboot", "vm"));
    const back = async () => (await bailiwick("status", "vm")).code;
    await expect.poll(back, { timeout: 300_000, interval: 2000 }).toBe(0);
    expect(await asRoot("cat /proc/sys/kernel/random/boot_id")).not.toBe(bootId);
  });

  it("powers off in order, and says that it stands still", { timeout: LONG }, async () => {
    ok(await bailiwick("local", "stop", "vm"));
    const [row] = JSON.parse(ok(await bailiwick("local", "status", "vm", "--json")).stdout);
    expect(row).toMatchObject({ state: "stopped" });
    expect(tracesOf(slot)).toEqual([join(project.dir, "state/local", slot)]);
  });

  it("leaves nothing when it is destroyed", { timeout: LONG }, async () => {
    ok(await timed("destroy", project.cdktf(["destroy", "vm", "--auto-approve"])));
    expect(readdirSync(join(project.dir, "state/local"))).toEqual([]);
    expect(tracesOf(slot)).toEqual([]);
  });
});
