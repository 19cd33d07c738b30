import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkPrerequisites, checkQemu } from "../../runtime/local/prerequisites.ts";
import { ok } from "../integration/support/project.ts";
import { Computer } from "./computer.ts";

// A local machine as a unit of systemd on cgroup v2, as it is on an operator's usual computer: that computer is a virtual
// machine here, and the machine a container in it. Emulated it takes half an hour and more, so the steps build on one machine.

const LIMITS = { memoryMiB: 256, cpus: 0.8, tasks: 64 };
const APP = `
import { App, TerraformStack } from "cdktf";
import { Access, AgentHost, LocalMachine, ModelProvider, Runtime } from "KIT";

const app = new App();
const stack = new TerraformStack(app, "box");
const host = new AgentHost(stack, "box", {
  machine: new LocalMachine(stack, "machine", { engine: "nspawn", rootGiB: 4, dataGiB: 1, rebuild: Number(process.env.REBUILD) }),
  access: Access.operator(),
  timeouts: { baselineSeconds: 900, healthSeconds: 600, confirmSeconds: 300, drainSeconds: 30 },
});
const puppet = host.addAgent("puppet", {
  runtime: Runtime.command({
    source: "./puppet",
    argv: ["node", "./main.mjs"],
    health: "/healthz",
    ask: "/v1/chat/completions",
  }),
  limits: ${JSON.stringify(LIMITS)},
});
host.addModel("demo", ModelProvider.demo()).grantInvoke(puppet, { models: ["demo"] });
host.addWorkspace("desk").grantReadWrite(puppet);
app.synth();
`;

const lacking = [...(await checkPrerequisites()), ...checkQemu()].filter((check) => !check.ok);
for (const { id, found, fix } of lacking) console.log(`not run: a computer needs ${id} (${found}); ${fix}`);

describe.skipIf(lacking.length > 0)("a computer run by systemd on cgroup v2", () => {
  const started = Date.now();
  const say = (line: string) => console.log(`at ${((Date.now() - started) / 1000).toFixed(0)} s: ${line}`);
  const computer = new Computer(say);
  const timed = async <T>(what: string, work: Promise<T>): Promise<T> => {
    const start = Date.now();
    try {
      return await work;
    } finally {
      say(`${what}: ${((Date.now() - start) / 1000).toFixed(0)} s`);
    }
  };
  const onComputer = async (script: string) => ok(await computer.run(script)).stdout.trim();
  const bailiwick = (...args: string[]) => timed(args.slice(0, 2).join(" "), computer.bailiwick(...args));
  const order = async (message: string) =>
    (JSON.parse(ok(await bailiwick("ask", "box", message, "--json")).stdout) as { reply: string }).reply;
  const asRoot = async (command: string) =>
    ok(await bailiwick("ssh", "box", `sudo sh -c '${command.replaceAll("'", "'\\''")}'`)).stdout.trim();
  /** Units of the kit's that systemd has on the computer, with their states, and how often each was restarted. */
  const units = () =>
    onComputer(
      "systemctl list-units --all --plain --no-legend 'bailiwick-*' | sed -E 's/ +/ /g' | cut -d' ' -f1,3,4 | sort",
    );
  const restarts = () =>
    onComputer("systemctl show -P NRestarts 'bailiwick-????????.service' 'bailiwick-????????-b.service'");
  const served = async () => {
    await expect
      .poll(async () => (await bailiwick("status", "box")).code, { timeout: 900_000, interval: 5000 })
      .toBe(0);
    expect(await order("sh cat /workspaces/desk/kept")).toContain("kept by the machine");
  };

  beforeAll(async () => {
    await timed("computer", computer.start(APP));
  });
  afterAll(() => timed("computer stopped", computer.stop()));

  it("is what doctor asks for", async () => {
    expect(await onComputer("cat /proc/1/comm; stat -f -c %T /sys/fs/cgroup; systemctl is-active apparmor")).toBe(
      "systemd\ncgroup2fs\nactive",
    );
    const { checks } = JSON.parse((await bailiwick("doctor", "--json")).stdout) as {
      checks: { id: string; ok: boolean }[];
    };
    // QEMU is for virtual machines alone
    expect(checks.filter((check) => !check.ok).map(({ id }) => id)).toEqual(["program.qemu-system-x86_64"]);
  });

  it("brings a machine up as units of its own, and its agent answers through the gateway", async () => {
    ok(await timed("deploy", computer.terraform("apply", 0)));
    expect(await units()).toMatch(
      /^bailiwick-(\w{8})-forward\.service active running\nbailiwick-\1-uplink\.service active running\nbailiwick-\1\.service active running$/,
    );
    expect(await order("are you there?")).toContain("this is the demo model of bailiwick");
    expect(await order("sh echo kept by the machine > /workspaces/desk/kept")).toContain("exit 0");
  });

  it("holds in every probe that can be proven", async () => {
    const report = JSON.parse((await bailiwick("verify", "box", "--allow-unprovable", "--json")).stdout);
    const rest = report.probes.filter((probe: { verdict: string }) => probe.verdict !== "held");
    console.log(rest.map((probe: object) => JSON.stringify(probe)).join("\n"));
    expect(rest.filter((probe: { verdict: string }) => probe.verdict === "broken")).toEqual([]);
    expect(report.held).toBeGreaterThanOrEqual(40);
  });

  // On this machine's own cgroup v1 the limits of units in a container bound nothing.
  describe("whose agent takes all it can get", () => {
    const unbounded = (command: string) =>
      asRoot(`systemd-run --quiet --wait --pipe --collect -p TasksMax=infinity sh -c '${command}' 2>&1; echo ended $?`);

    it("gets no more processes than it may have", async () => {
      const bomb = "i=0; while [ $i -lt 100 ]; do sleep 15 & i=$((i+1)); done; echo forked $i";
      const tried = await order(`sh ${bomb}`);
      expect(tried).toMatch(/fork/i);
      expect(tried).not.toContain("forked 100");
      expect(await unbounded(bomb)).toContain("forked 100");
    });

    it("gets no more memory", async () => {
      const hog = `python3 -c "len(bytearray(${LIMITS.memoryMiB + 100} << 20))" && echo held`;
      const tried = await order(`sh timeout -s KILL 30 ${hog}`);
      expect(tried).toMatch(/exit (137|SIG)/);
      expect(tried).not.toContain("held");
      const peak = Number(await asRoot("cat /sys/fs/cgroup/system.slice/bailiwick-agent-puppet.service/memory.peak"));
      say(`memory: ${peak >> 20} of ${LIMITS.memoryMiB} MiB`);
      expect(peak).toBeLessThanOrEqual(LIMITS.memoryMiB << 20);
      expect(await unbounded(hog)).toContain("held");
    });

    it("gets no more of the processors", async () => {
      const spin =
        "(sleep 5; for i in 1 2 3; do timeout 60 sh -c 'while :; do :; done' & done; wait) >/dev/null 2>&1 </dev/null";
      const share = async (cgroup: string) => {
        const look = `sed -n "s/^usage_usec //p" /sys/fs/cgroup/system.slice/${cgroup}.service/cpu.stat; date +%s%6N`;
        const [used = 0, at = 0, usedThen = 0, then = 0] = (await asRoot(`${look}; sleep 15; ${look}`))
          .split("\n")
          .map(Number);
        return (usedThen - used) / (then - at);
      };
      expect(await order(`sh ${spin} & echo spinning`)).toContain("spinning");
      const bounded = await share("bailiwick-agent-puppet");
      say(`processors: ${bounded.toFixed(2)} of ${LIMITS.cpus}`);
      expect(bounded).toBeLessThan(LIMITS.cpus * 1.1);
    });
  });

  it("starts its machine again when that reboots by itself, and when it is asked to reboot it", async () => {
    await computer.bailiwick("ssh", "box", "sudo systemctl reboot");
    await expect.poll(restarts, { timeout: 900_000, interval: 2000 }).toBe("1");
    await served();
    ok(await bailiwick("local", "reboot", "box"));
    expect(await restarts()).toBe("2");
    await served();
  });

  it("stops it in order, and starts it again", async () => {
    ok(await bailiwick("local", "stop", "box"));
    expect(await units()).toBe("");
    expect(await onComputer("losetup -a; ip netns list")).toBe("");
    ok(await bailiwick("local", "start", "box"));
    await served();
  });

  it("replaces it by one that is made beside it", async () => {
    const ran = ok(await timed("rebuild", computer.terraform("apply", 1)));
    expect(ran.text).toMatch(/bw-\w{8}-b takes its place and its data volume/);
    expect(
      (await units()).split("\n").filter((unit) => !/^bailiwick-\w{8}-b[.-].* active running$/.test(unit)),
    ).toEqual([]);
    await served();
  });

  it("has nothing left of it when it is destroyed", async () => {
    ok(await timed("destroy", computer.terraform("destroy", 1)));
    expect(await units()).toBe("");
    expect(
      await onComputer(
        "losetup -a; ip netns list; grep -h /root/.local/state /proc/*/mountinfo; find /root/.local/state/bailiwick/local /run/systemd/nspawn/locks -mindepth 1; find /sys/fs/cgroup/machine.slice -mindepth 1 -type d; pgrep -a 'pasta|nspawn|socket'; true",
      ),
    ).toBe("");
  });
});
