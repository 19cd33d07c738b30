// How long an operator waits: for a new host, for a push, for a rebuild; each beside the least it could take, or beside a
// peer, in the same run. Needs root; build the caches first (`npm run quickstart` does).
import { execFileSync } from "node:child_process";
import { resolve } from "node:path";
import { machineStatus } from "../../runtime/local/machine.ts";
import type { PushResult } from "../../runtime/release/push.ts";
import { ok } from "../../test/integration/support/project.ts";
import { Results, timed } from "../results.ts";
import { Ansible } from "./ansible.ts";
import { bareBoot } from "./bare-boot.ts";
import { downtimeDuring } from "./downtime.ts";
import { BenchHost } from "./host.ts";
import { openclawByHand } from "./openclaw-by-hand.ts";

const ROUNDS = 3;

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

const results = new Results("deploy");
const say = (line: string) => console.log(line);

/** The values as a figure, and their middle as what the aim is set for. */
function seconds(key: string, values: readonly number[], aim: number): void {
  results.ratio(`${key}_s`, results.figure(`${key}_s`, values, "s"), "<=", aim, "s");
}

async function openclawHost(): Promise<void> {
  const host = new BenchHost("claw", OPENCLAW);
  try {
    await host.project.build("claw");
    const bundle = await host.json<Record<string, { archive: { bytes: number } }>>(["bundle", "claw"]);
    for (const [name, { archive }] of Object.entries(bundle))
      results.figure(`bundle_${name}_mb`, [archive.bytes / 1e6], "MB");
    const bytes = Object.values(bundle).reduce((sum, { archive }) => sum + archive.bytes, 0);
    results.ratio("bundle_mb", bytes / 1e6, "<=", 90, "MB");
    say("deploying a host with OpenClaw, three times");
    const deployed: number[] = [];
    const answered: number[] = [];
    for (let i = 0; i < ROUNDS; i++) {
      if (i > 0) await host.undeploy();
      deployed.push((await timed(() => host.deploy())).seconds);
      answered.push((await timed(() => host.json<{ reply: string }>(["ask", "claw", "are you there?"]))).seconds);
    }
    const synths = await rounds(async () => ok(await host.project.cdktf(["synth"])));
    seconds("synth", synths, 8);
    const pushes = await rounds(async () => {
      const { restarted, reloaded } = await host.json<PushResult>(["push", "claw"]);
      if (restarted.length + reloaded.length > 0)
        throw new Error(`an unchanged push restarted ${restarted.join(", ")}`);
    });
    seconds("unchanged_push", pushes, 2);
    const verified = await timed(() => host.json<{ held: number; broken: number }>(["verify", "claw"]));
    if (verified.value.broken > 0) throw new Error(`${verified.value.broken} probes are broken`);
    seconds("verify", [verified.seconds], 40);
    results.figure("verify_probes_held", [verified.value.held], "");
    say("what OpenClaw takes by hand, and the same image takes to boot");
    const byHand: { ready: number; turn: number }[] = [];
    for (let i = 0; i < ROUNDS; i++) byHand.push(await openclawByHand(host, "main"));
    const floor =
      results.figure("bare_boot_s", [await bareBoot(), await bareBoot(), await bareBoot()], "s") +
      results.figure(
        "openclaw_ready_s",
        byHand.map(({ ready }) => ready),
        "s",
      ) +
      results.figure(
        "turn_by_hand_s",
        byHand.map(({ turn }) => turn),
        "s",
      );
    const whole = results.figure("deploy_s", deployed, "s") + results.figure("first_ask_s", answered, "s");
    results.ratio("deploy_to_answer", whole / floor, "<=", 1.3, "x");
  } finally {
    await host.destroy();
  }
}

async function rounds(work: () => Promise<unknown>): Promise<number[]> {
  const all: number[] = [];
  for (let i = 0; i < ROUNDS; i++) all.push((await timed(work)).seconds);
  return all;
}

async function commandHost(): Promise<void> {
  let key = "bench-key-0";
  const env = () => ({ BENCH_KEY: key });
  const host = new BenchHost("daemon", daemon("hello"), env());
  try {
    await host.project.build("daemon");
    say("deploying a host with a daemon of one second");
    await host.deploy();

    let round = 0;
    const gatewayOnly = await rounds(async () => {
      key = `bench-key-${++round}`;
      const { restarted } = await host.json<PushResult>(["push", "daemon"], env());
      if (restarted.join() !== "bailiwick-gateway.service")
        throw new Error(`a push that changed the gateway's key restarted ${restarted.join(", ")}`);
    });
    seconds("gateway_only_push", gatewayOnly, 5);
    results.note("gateway_only_push_s", "the key of a model provider has changed; exactly the gateway restarts");

    const deploys: number[] = [];
    for (const greeting of ["good day", "good evening"]) {
      host.project.write(daemon(greeting));
      deploys.push((await timed(() => host.deploy(env()))).seconds);
    }
    seconds("config_only_deploy", deploys, 12);
    results.note("config_only_deploy_s", "cdktf deploy after a change of the daemon's environment: synth, plan, apply");

    await besideAnsible(host, env());

    const manifest = JSON.parse(await host.root("cat /opt/bailiwick/current/manifest.json")) as {
      agents: { port: number }[];
    };
    const url = `http://127.0.0.1:${manifest.agents[0]?.port}/healthz`;
    say("rebuilding it");
    const rebuild = async () => ok(await host.project.bailiwick(["rebuild", "daemon"], env()));
    const down = results.figure("rebuild_downtime_s", [await downtimeDuring(host.slot, url, rebuild)], "s");
    const boot = results.figure("bare_boot_beside_rebuild_s", [await bareBoot(), await bareBoot()], "s");
    results.ratio("rebuild_downtime", down / boot, "<=", 1.5, "x");
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
    const times = { ours: [], ansible: [], oursChanged: [], ansibleChanged: [] } as Record<string, number[]>;
    for (let i = 0; i < ROUNDS; i++) {
      times.ours?.push((await timed(() => host.json(["push", "daemon"], env))).seconds);
      const same = await ansible.run();
      if (same.changed !== 0) throw new Error(`ansible changed ${same.changed} things that had not changed`);
      times.ansible?.push(same.seconds);
    }
    for (let i = 0; i < ROUNDS; i++) {
      host.project.write(daemon(`round ${i}`));
      ok(await host.project.cdktf(["synth"]));
      const push = await timed(() => host.json<PushResult>(["push", "daemon"], env));
      if (push.value.restarted.join() !== "bailiwick-agent-echo.service") throw new Error(push.value.restarted.join());
      times.oursChanged?.push(push.seconds);
      ansible.change("etc/agents/echo/hosts", `# round ${i}\n`);
      const other = await ansible.run();
      if (other.changed !== 2) throw new Error(`ansible changed ${other.changed} things, not a file and a unit`);
      times.ansibleChanged?.push(other.seconds);
    }
    const figure = (name: string, key: string) => results.figure(name, times[key] ?? [], "s");
    const unchanged = figure("push_unchanged_s", "ours") / figure("ansible_unchanged_s", "ansible");
    results.ratio("vs_ansible_unchanged", unchanged, "<=", 0.5, "x");
    const changed = figure("push_one_file_s", "oursChanged") / figure("ansible_one_file_s", "ansibleChanged");
    results.figure("vs_ansible_one_file", [changed], "x");
    results.note("ansible", execFileSync("ansible-playbook", ["--version"], { encoding: "utf8" }).split("\n")[0] ?? "");
  } finally {
    ansible.close();
  }
}

if (process.getuid?.() !== 0) throw new Error("not run: the benchmark boots machines and needs root on Linux");
await openclawHost();
await commandHost();
results.write();
