// How long an operator waits: for a new host, for a push, for a rebuild; each beside the least it could take, or beside a
// peer, in the same run. Needs root; build the caches first (`npm run quickstart` does).
import { execFileSync } from "node:child_process";
import { resolve } from "node:path";
import { machineStatus } from "../../runtime/local/machine.ts";
import type { PushResult } from "../../runtime/release/push.ts";
import { ok } from "../../test/integration/support/project.ts";
import { median, timed, writeResult } from "../results.ts";
import { Ansible } from "./ansible.ts";
import { bareBoot } from "./bare-boot.ts";
import { downtimeDuring } from "./downtime.ts";
import { BenchHost } from "./host.ts";
import { openclawByHand } from "./openclaw-by-hand.ts";

const ROUNDS = 3;
const AIMS = {
  deploy_to_answer: 1.3,
  unchanged_push_s: 2,
  gateway_only_push_s: 5,
  config_only_deploy_s: 12,
  synth_s: 8,
  rebuild_downtime: 1.5,
  bundle_mb: 90,
  verify_s: 40,
  vs_ansible_unchanged: 0.5,
};

const head = (name: string) => `
import { App, TerraformStack } from "cdktf";
import { Access, AgentHost, LocalMachine, ModelProvider, Runtime, Secret } from "KIT";
const app = new App();
const stack = new TerraformStack(app, "${name}");
const host = new AgentHost(stack, "${name}", {
  machine: new LocalMachine(stack, "machine", { engine: "nspawn", rootGiB: 4, dataGiB: 1 }),
  access: Access.operator(),
});
const demo = host.addModel("demo", ModelProvider.demo());
`;
const OPENCLAW = `${head("claw")}
demo.grantInvoke(host.addAgent("main"), { models: ["demo"] });
app.synth();
`;
const daemon = (greeting: string) => `${head("daemon")}
const echo = host.addAgent("echo", {
  runtime: Runtime.command({
    source: ${JSON.stringify(resolve(import.meta.dirname, "../../examples/command-agent/daemon"))},
    argv: ["node", "./main.mjs"],
    env: { GREETING: "${greeting}" },
    health: "/healthz",
    ask: "/v1/chat/completions",
  }),
});
demo.grantInvoke(echo, { models: ["demo"] });
host.addModel("paid", ModelProvider.openai({ apiKey: Secret.fromEnv("BENCH_KEY") })).grantInvoke(echo, { models: ["any"] });
app.synth();
`;

const figures: Record<string, number> = {};
const details: Record<string, unknown> = {};
const say = (line: string) => console.log(line);

async function openclawHost(): Promise<void> {
  const host = new BenchHost("claw", OPENCLAW);
  try {
    await host.project.build("claw");
    const bundle = await host.json<Record<string, { archive: { bytes: number } }>>(["bundle", "claw"]);
    figures.bundle_mb = Object.values(bundle).reduce((sum, { archive }) => sum + archive.bytes, 0) / 1e6;
    say("deploying a host with OpenClaw");
    const deployed = await timed(() => host.deploy());
    const answered = await timed(() => host.json<{ reply: string }>(["ask", "claw", "are you there?"]));
    const synths = [];
    for (let i = 0; i < ROUNDS; i++)
      synths.push((await timed(async () => ok(await host.project.cdktf(["synth"])))).seconds);
    figures.synth_s = median(synths);
    const pushes = [];
    for (let i = 0; i < ROUNDS; i++) {
      const push = await timed(() => host.json<PushResult>(["push", "claw"]));
      if (push.value.restarted.length + push.value.reloaded.length > 0) throw new Error("an unchanged push restarted");
      pushes.push(push.seconds);
    }
    figures.unchanged_push_s = median(pushes);
    const verified = await timed(() => host.json<{ held: number; broken: number }>(["verify", "claw"]));
    figures.verify_s = verified.seconds;
    say("what OpenClaw takes by hand, and the same image takes to boot");
    const byHand = await openclawByHand(host, "main");
    const boots = [await bareBoot(), await bareBoot()];
    const floor = median(boots) + byHand.ready + byHand.turn;
    figures.deploy_to_answer = (deployed.seconds + answered.seconds) / floor;
    details.deploy_to_answer = {
      deploy_s: deployed.seconds,
      ask_s: answered.seconds,
      bare_boot_s: boots,
      openclaw_ready_s: byHand.ready,
      turn_by_hand_s: byHand.turn,
    };
    details.synth_s = synths;
    details.unchanged_push_s = pushes;
    details.verify = { held: verified.value.held, broken: verified.value.broken };
  } finally {
    await host.destroy();
  }
}

async function commandHost(): Promise<void> {
  let key = "bench-key-0";
  const env = () => ({ BENCH_KEY: key });
  const host = new BenchHost("daemon", daemon("hello"), env());
  try {
    await host.project.build("daemon");
    say("deploying a host with a daemon of one second");
    await host.deploy();

    const gatewayOnly = [];
    for (let i = 1; i <= ROUNDS; i++) {
      key = `bench-key-${i}`;
      const push = await timed(() => host.json<PushResult>(["push", "daemon"], env()));
      if (push.value.restarted.join() !== "bailiwick-gateway.service")
        throw new Error(`a push that changed the gateway's key restarted ${push.value.restarted.join(", ")}`);
      gatewayOnly.push(push.seconds);
    }
    figures.gateway_only_push_s = median(gatewayOnly);

    const deploys = [];
    for (const greeting of ["good day", "good evening"]) {
      host.project.write(daemon(greeting));
      deploys.push((await timed(() => host.deploy(env()))).seconds);
    }
    figures.config_only_deploy_s = median(deploys);

    await besideAnsible(host, env());

    const manifest = JSON.parse(await host.root("cat /opt/bailiwick/current/manifest.json")) as {
      agents: { port: number }[];
    };
    const url = `http://127.0.0.1:${manifest.agents[0]?.port}/healthz`;
    say("rebuilding it");
    const rebuild = async () => ok(await host.project.bailiwick(["rebuild", "daemon"], env()));
    const downtime = await downtimeDuring(host.slot, url, rebuild);
    const boots = [await bareBoot(), await bareBoot()];
    figures.rebuild_downtime = downtime / median(boots);
    details.gateway_only_push_s = gatewayOnly;
    details.config_only_deploy_s = deploys;
    details.rebuild = { downtime_s: downtime, bare_boot_s: boots };
  } finally {
    await host.destroy();
  }
}

/** Rounds of both, one after the other, so that whatever else this machine does meets both. */
async function besideAnsible(host: BenchHost, env: Record<string, string>): Promise<void> {
  const status = await machineStatus(host.slot);
  const { hostKey } = await host.json<PushResult>(["push", "daemon"], env);
  if (status.state !== "running") throw new Error(`the machine is ${status.state}`);
  const ansible = await Ansible.prepare(host, { hostKey, port: status.port, agent: "echo" });
  if (ansible === undefined) {
    say("not run: the comparison with Ansible: apt-get install ansible-core");
    return;
  }
  try {
    say("pushing the same by Ansible");
    await ansible.run();
    const unchanged: Record<"ours" | "ansible", number[]> = { ours: [], ansible: [] };
    const changed: Record<"ours" | "ansible", number[]> = { ours: [], ansible: [] };
    for (let i = 0; i < ROUNDS; i++) {
      unchanged.ours.push((await timed(() => host.json(["push", "daemon"], env))).seconds);
      const same = await ansible.run();
      if (same.changed !== 0) throw new Error(`ansible changed ${same.changed} things that had not changed`);
      unchanged.ansible.push(same.seconds);
    }
    for (let i = 0; i < ROUNDS; i++) {
      host.project.write(daemon(`round ${i}`));
      ok(await host.project.cdktf(["synth"]));
      const push = await timed(() => host.json<PushResult>(["push", "daemon"], env));
      if (push.value.restarted.join() !== "bailiwick-agent-echo.service") throw new Error(push.value.restarted.join());
      changed.ours.push(push.seconds);
      ansible.change("etc/agents/echo/hosts", `# round ${i}\n`);
      const other = await ansible.run();
      if (other.changed !== 2) throw new Error(`ansible changed ${other.changed} things, not a file and a unit`);
      changed.ansible.push(other.seconds);
    }
    figures.vs_ansible_unchanged = median(unchanged.ours) / median(unchanged.ansible);
    figures.vs_ansible_one_file = median(changed.ours) / median(changed.ansible);
    const version = execFileSync("ansible-playbook", ["--version"], { encoding: "utf8" }).split("\n")[0];
    details.ansible = { version, unchanged_s: unchanged, one_file_changed_s: changed };
  } finally {
    ansible.close();
  }
}

if (process.getuid?.() !== 0) throw new Error("not run: the benchmark boots machines and needs root on Linux");
await openclawHost();
await commandHost();
say(`\nwritten: ${writeResult("deploy", figures, AIMS, details)}`);
