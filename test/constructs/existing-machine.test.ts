import { type App, TerraformStack, TerraformVariable } from "cdktf";
import { describe, expect, it } from "vitest";
import {
  AgentHost,
  ExistingMachine,
  type ExistingMachineProps,
  LocalMachine,
  ModelProvider,
} from "../../constructs/index.ts";
import type { HostSpec } from "../../runtime/spec/host-spec.ts";
import { ADA, access, anApp, BOB, synthesise } from "./synthesised.ts";

interface Resource {
  input?: unknown;
  triggers_replace?: unknown;
  depends_on?: string[];
  lifecycle?: { replace_triggered_by?: string[] };
  provisioner?: { "local-exec": { command: string; when?: string; environment: Record<string, string> } }[];
}

const KEY = BOB.split(" ").slice(0, 2).join(" ");
const PROPS: ExistingMachineProps = {
  address: "203.0.113.40",
  user: "root",
  hostKey: `${KEY} root@rack`,
  dataDevice: "dm-name-vg0-data",
};

function host(app: App, props: Partial<ExistingMachineProps> = {}): AgentHost<ExistingMachine> {
  const stack = new TerraformStack(app, "s");
  const machine = new ExistingMachine(stack, "box", { ...PROPS, ...props });
  return new AgentHost(stack, "ops", { machine, access });
}

function synthesised(props: Partial<ExistingMachineProps> = {}): {
  text: string;
  spec: HostSpec;
  of: (id: string) => Resource;
} {
  const app = anApp();
  host(app, props);
  const { terraform, specs } = synthesise(app, "s");
  const { terraform_data: all } = (JSON.parse(terraform) as { resource: { terraform_data: Record<string, Resource> } })
    .resource;
  const of = (id: string) => Object.entries(all).find(([name]) => name.startsWith(id))?.[1] ?? {};
  return { text: terraform, spec: specs["ops.json"] as HostSpec, of };
}

describe("a machine that was there before", () => {
  it("is trusted by the key that it is given, and by none that stands in the state", () => {
    const { of, text } = synthesised();
    expect(of("ops_bootstrap").input).toEqual({ publicKey: KEY });
    expect(text).not.toContain("PRIVATE KEY");
  });

  it("is taken before the push, and let go by a resource that never fails to be made", () => {
    const { of } = synthesised();
    const [taken] = of("box_baseline").provisioner ?? [];
    const [left] = of("box_hold").provisioner ?? [];
    expect(taken?.["local-exec"].command).toMatch(/ machine adopt ops --spec bailiwick\/ops\.json --from-terraform$/);
    expect(left?.["local-exec"]).toMatchObject({
      when: "destroy",
      command: expect.stringMatching(/ machine leave ops --from-terraform$/),
      environment: { BAILIWICK_MACHINE: `\${jsonencode(merge(self.output, { instance = self.id }))}` },
    });
    expect(of("ops_release").depends_on).toEqual([expect.stringContaining("terraform_data.box_baseline")]);
    expect(of("box_hold").input).toMatchObject({ host: "ops", address: "203.0.113.40", user: "root", hostKey: KEY });
  });

  it("is another one by its key or when rebuild says so, not by its address or how it is taken", () => {
    const generation = (props: Partial<ExistingMachineProps>) =>
      JSON.stringify(synthesised(props).of("ops_generation").triggers_replace);
    const first = generation({});
    expect(generation({ address: "203.0.113.41", user: "debian", adopt: true, onDestroy: "leave" })).toBe(first);
    expect(generation({ hostKey: ADA })).not.toBe(first);
    expect(generation({ rebuild: 1 })).not.toBe(first);
    // part of the baseline: it is what may be formatted
    expect(generation({ dataDevice: "other" })).not.toBe(first);
  });

  it("is not touched when its stack is destroyed with onDestroy leave", () => {
    expect(synthesised({ onDestroy: "leave" }).of("box_hold").provisioner ?? []).toEqual([]);
  });

  it("takes address and key from other constructs, which are bound in the spec", () => {
    const app = anApp();
    const stack = new TerraformStack(app, "s");
    const [address, hostKey] = ["address", "key"].map(
      (name) => new TerraformVariable(stack, name, { type: "string" }).stringValue,
    );
    const machine = new ExistingMachine(stack, "box", { ...PROPS, address: address ?? "", hostKey: hostKey ?? "" });
    new AgentHost(stack, "ops", { machine, access });
    const { terraform, specs } = synthesise(app, "s");
    expect(specs["ops.json"]?.machine).toMatchObject({
      address: { $binding: "machine.address" },
      hostKey: { $binding: "machine.hostKey" },
      user: "root",
    });
    expect(terraform).toContain(`"machine.address":`);
  });

  it("gives the same spec as a local machine, but for the machine and the digest of its baseline", () => {
    const of = (make: (stack: TerraformStack) => ExistingMachine | LocalMachine) => {
      const app = anApp();
      const stack = new TerraformStack(app, "s");
      const made = new AgentHost(stack, "ops", { machine: make(stack), access });
      made.addModel("demo", ModelProvider.demo()).grantInvoke(made.addAgent("main"), { models: ["demo"] });
      const { machine: _, ...rest } = made.toSpec();
      return rest;
    };
    const local = of((stack) => new LocalMachine(stack, "box"));
    expect(of((stack) => new ExistingMachine(stack, "box", { ...PROPS, dataDevice: "bailiwick-data" }))).toEqual(local);
    const { baseline: _, ...other } = of((stack) => new ExistingMachine(stack, "box", PROPS));
    const { baseline: __, ...same } = local;
    expect(other).toEqual(same);
  });

  it.each<[Partial<Record<keyof ExistingMachineProps | "port", unknown>>, string]>([
    [{ port: 2222 }, 'ExistingMachine "box": unknown key "port"'],
    [{ address: "root@203.0.113.40" }, "address: received"],
    [{ address: "" }, "address: received"],
    [{ user: "Root User" }, "user: received"],
    [{ hostKey: undefined }, "hostKey: received nothing"],
    [{ hostKey: "SHA256:abc" }, "give the machine's ed25519 host key as its own console shows it"],
    [{ hostKey: "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ" }, "give the machine's ed25519 host key"],
    [{ dataDevice: "/dev/sdb" }, "dataDevice: received"],
    [{ dataDevice: undefined }, "dataDevice: received nothing"],
    [{ adopt: "yes" }, "adopt: received"],
    [{ onDestroy: "delete" }, "onDestroy: received"],
    [{ rebuild: 1.5 }, "rebuild: received 1.5"],
  ])("refuses %o", (props, problem) => {
    expect(() => host(anApp(), props as Partial<ExistingMachineProps>)).toThrow(problem);
  });
});
