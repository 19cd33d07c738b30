import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TerraformStack } from "cdktf";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  Access,
  AgentHost,
  type AgentHostProps,
  ExistingMachine,
  LocalMachine,
  type LocalMachineProps,
  ModelProvider,
  Secret,
  Setting,
} from "../../constructs/index.ts";
import { generateSshKeyPair } from "../../constructs/openssh-key.ts";
import { bindingsOf, NOT_RUN, TerraformProject, terraformMissing } from "./terraform-project.ts";

if (terraformMissing) console.log(NOT_RUN);

const ada = generateSshKeyPair("ada").publicKey;
const access = Access.ssh({ admins: { ada }, from: ["203.0.113.7/32"] });

interface Variation {
  machine?: LocalMachineProps;
  access?: AgentHostProps<LocalMachine>["access"];
  agents?: readonly string[];
}

function box({ machine, access: given = access, agents = ["ops"] }: Variation = {}): (stack: TerraformStack) => void {
  return (stack) => {
    const host = new AgentHost(stack, "my-host", {
      machine: new LocalMachine(stack, "machine", machine),
      access: given,
    });
    for (const name of agents) host.addAgent(name);
  };
}

describe.skipIf(terraformMissing)(`deployed by Terraform${terraformMissing ? ` (${NOT_RUN})` : ""}`, () => {
  let project: TerraformProject;

  beforeEach(async () => {
    project = new TerraformProject();
    project.synth(box());
    await project.init();
  });

  afterEach(() => project.remove());

  it("makes the machine, then pushes; gives each what it needs; and says where the host is", async () => {
    const { code, output } = await project.apply();
    expect(code, output).toBe(0);
    const calls = project.calls();
    expect(calls.map(({ verb }) => verb)).toEqual(["image", "boot", "push"]);
    const [, boot, push] = calls;
    const bindings = bindingsOf(push);
    const { slot, instance } = bindings.machine;
    expect(boot?.argv).toEqual(
      `local boot --host my-host --slot ${slot} --instance ${instance} --spec bailiwick/my-host.json`.split(" "),
    );
    expect(push?.argv).toEqual("push my-host --spec bailiwick/my-host.json --from-terraform".split(" "));
    expect(boot?.cwd).toBe(project.stackFolder);
    expect(bindings.bootstrap.claimedBy).toBe(instance);
    expect(bindings.values).toEqual({});
    expect(output).toContain("recorded push");
    expect(output).toMatch(/release[^\n]*recorded push/);
    const shown = await project.terraform("output", "-json", "bailiwick_my_host");
    expect(JSON.parse(shown.output)).toEqual(bindings);
  });

  it("gives first boot a host key pair that ssh-keygen accepts, of which push is pinned to the public half", async () => {
    await project.apply();
    const [, boot, push] = project.calls();
    const userData = boot?.userData ?? "";
    const privateKey = /ed25519_private: "([^"]*)"/.exec(userData)?.[1]?.replaceAll("\\n", "\n") ?? "";
    const file = join(project.folder, "host-key");
    writeFileSync(file, privateKey, { mode: 0o600 });
    const { publicKey } = bindingsOf(push).bootstrap;
    expect(execFileSync("ssh-keygen", ["-y", "-f", file], { encoding: "utf8" }).trim()).toBe(publicKey);
    expect(userData).toContain(`ed25519_public: "${publicKey}"`);
    expect(userData).toContain(ada);
    expect(userData).not.toMatch(/BAILIWICK_HOST_KEY|\$\$\{/);
  });

  it("runs no provisioner when nothing has changed, though synth makes a fresh key", async () => {
    await project.apply();
    const before = bindingsOf(project.calls().at(-1));
    const synthesised = readFileSync(join(project.stackFolder, "cdk.tf.json"), "utf8");
    project.synth(box());
    expect(readFileSync(join(project.stackFolder, "cdk.tf.json"), "utf8")).not.toBe(synthesised);
    const { output } = await project.apply();
    expect(output).toContain("No changes.");
    expect(project.verbs()).toEqual([]);
    const shown = await project.terraform("output", "-json", "bailiwick_my_host");
    expect(JSON.parse(shown.output)).toEqual(before);
  });

  it("pushes again to the same machine when a grant changes", async () => {
    await project.apply();
    const before = bindingsOf(project.calls().at(-1));
    project.synth(box({ agents: ["ops", "second"] }));
    await project.apply();
    const calls = project.calls();
    expect(calls.map(({ verb }) => verb)).toEqual(["push"]);
    expect(bindingsOf(calls[0])).toEqual(before);
  });

  it("retries only the release after a push has failed, and knows where the host is meanwhile", async () => {
    project.failing("push", true);
    const failed = await project.apply();
    expect(failed.code).toBe(1);
    expect(failed.output).toContain("recorded reason why push failed");
    const before = bindingsOf(project.calls().at(-1));
    const shown = await project.terraform("output", "-json", "bailiwick_my_host");
    expect(JSON.parse(shown.output)).toEqual(before);
    project.failing("push", false);
    project.synth(box());
    expect((await project.apply()).code).toBe(0);
    const calls = project.calls();
    expect(calls.map(({ verb }) => verb)).toEqual(["push"]);
    expect(bindingsOf(calls[0])).toEqual(before);
  });

  it("destroys what a failed boot has started, and tells why it failed without telling the key", async () => {
    project.failing("boot", true);
    const failed = await project.apply();
    expect(failed.code).toBe(1);
    expect(failed.output).toContain("recorded reason why boot failed");
    expect(failed.output).not.toContain("BEGIN OPENSSH");
    const slot = project.calls()[1]?.argv[5];
    await project.apply("-destroy");
    expect(project.calls().map(({ argv }) => argv)).toEqual([["local", "destroy", "--slot", slot]]);
  });

  it("tells the push that a machine booted again is not the one the key was made for", async () => {
    await project.apply();
    const before = bindingsOf(project.calls().at(-1));
    await project.terraform("taint", project.address("box/machine/boot"));
    await project.apply();
    const calls = project.calls();
    expect(calls.map(({ verb }) => verb)).toEqual(["boot", "push"]);
    const { machine, bootstrap } = bindingsOf(calls[1]);
    expect(machine.instance).not.toBe(before.machine.instance);
    expect(machine.slot).toBe(before.machine.slot);
    expect(bootstrap).toEqual(before.bootstrap);
    expect(bootstrap.claimedBy).toBe(before.machine.instance);
  });

  it("makes a new key and a new machine in the same slot when rebuild is raised", async () => {
    await project.apply();
    const before = bindingsOf(project.calls().at(-1));
    project.synth(box({ machine: { rebuild: 1 } }));
    await project.apply();
    const calls = project.calls();
    expect(calls.map(({ verb }) => verb)).toEqual(["image", "boot", "push"]);
    const after = bindingsOf(calls[2]);
    expect(after.machine.slot).toBe(before.machine.slot);
    expect(after.machine.instance).not.toBe(before.machine.instance);
    expect(after.bootstrap.claimedBy).toBe(after.machine.instance);
    expect(after.bootstrap.publicKey).not.toBe(before.bootstrap.publicKey);
  });

  it.each([
    [
      "the first admin's key",
      { access: Access.ssh({ admins: { ada: generateSshKeyPair("ada").publicKey }, from: ["203.0.113.7/32"] }) },
    ],
    ["the machine's memory", { machine: { memoryMiB: 1024 } }],
  ])("makes a new machine when %s changes", async (_what, variation) => {
    await project.apply();
    project.calls();
    project.synth(box(variation));
    await project.apply();
    expect(project.verbs()).toEqual(["image", "boot", "push"]);
  });

  it("prints the one-time private key in no plan: of a deploy, a rebuild, or a destroy", async () => {
    const secret = /b3BlbnNzaC1rZXk|BEGIN OPENSSH/;
    const plans = [await project.terraform("plan", "-no-color")];
    plans.push(await project.apply());
    expect(readFileSync(join(project.folder, "terraform.tfstate"), "utf8")).toMatch(secret);
    project.synth(box({ machine: { rebuild: 1 } }));
    plans.push(await project.terraform("plan", "-no-color"), await project.terraform("plan", "-no-color", "-destroy"));
    plans.push(await project.apply("-destroy"));
    expect(plans.map(({ code }) => code)).toEqual([0, 0, 0, 0, 0]);
    for (const { output } of plans) {
      expect(output).toContain("bootstrap");
      expect(output).not.toMatch(secret);
    }
  });

  it("keeps no key and no secret in plan or state of an existing machine, which is trusted by its own key", async () => {
    vi.stubEnv("BW_TEST_CANARY", "canary-existing-5d20");
    project.synth((stack) => {
      const hostKey = generateSshKeyPair("").publicKey;
      const machine = new ExistingMachine(stack, "machine", {
        ...{ address: "203.0.113.40", user: "root", hostKey, dataDevice: "data", os: "ubuntu-24.04" },
      });
      const host = new AgentHost(stack, "my-host", { machine, access });
      const model = ModelProvider.anthropic({ apiKey: Secret.fromEnv("BW_TEST_CANARY") });
      host.addModel("claude", model).grantInvoke(host.addAgent("ops"), { models: ["claude-sonnet-4-6"] });
    });
    const plan = await project.terraform("plan", "-no-color");
    const applied = await project.apply();
    vi.unstubAllEnvs();
    expect([plan.code, applied.code], applied.output).toEqual([0, 0]);
    expect(project.calls().map(({ argv }) => argv.slice(0, 2).join(" "))).toEqual(["machine adopt", "push my-host"]);
    const state = readFileSync(join(project.folder, "terraform.tfstate"), "utf8");
    expect(state).toContain("203.0.113.40");
    expect(plan.output + applied.output + state).not.toMatch(/b3BlbnNzaC1rZXk|BEGIN OPENSSH|canary-existing-5d20/);
  });

  it("leaves nothing in the state after destroy", async () => {
    await project.apply();
    project.calls();
    await project.apply("-destroy");
    expect(project.verbs()).toEqual(["destroy"]);
    expect(JSON.parse(readFileSync(join(project.folder, "terraform.tfstate"), "utf8")).resources).toEqual([]);
  });

  it("fails the plan, naming what to set, while a deployment value is missing; destroy still works", async () => {
    await project.apply();
    project.calls();
    project.synth(box({ access: Access.fromEnv({ key: "BAILIWICK_TEST_KEY", from: "BAILIWICK_TEST_CIDR" }) }));
    const plan = await project.terraform("plan", "-no-color");
    expect(plan.code).toBe(1);
    expect(plan.output.replaceAll(/\s+/g, " ")).toContain(
      "BAILIWICK_TEST_KEY is not set; set it to an admin's public key line, as in id_ed25519.pub BAILIWICK_TEST_CIDR is not set",
    );
    expect((await project.apply("-destroy")).code).toBe(0);
    expect(project.verbs()).toEqual(["destroy"]);
  });

  it("fails the plan of an engine there is not, naming the variable", async () => {
    vi.stubEnv("BAILIWICK_TEST_ENGINE", "docker");
    project.synth((stack) => {
      const engine = Setting.fromEnv("BAILIWICK_TEST_ENGINE");
      new AgentHost(stack, "my-host", { machine: new LocalMachine(stack, "machine", { engine }), access });
    });
    vi.unstubAllEnvs();
    const plan = await project.terraform("plan", "-no-color");
    expect(plan.code).toBe(1);
    expect(plan.output.replaceAll(/\s+/g, " ")).toContain(
      'BAILIWICK_TEST_ENGINE holds "docker"; set it to nspawn or qemu',
    );
  });
});
