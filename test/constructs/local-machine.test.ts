import { App, TerraformStack } from "cdktf";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  Access,
  AgentHost,
  LocalMachine,
  type LocalMachineProps,
  ModelProvider,
  Secret,
  Setting,
} from "../../constructs/index.ts";

const access = Access.ssh({
  admins: { ada: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBSCKxlmuLk7hEAPGlDi3Nt0SGKpo7mRRT4VpR0LsCkE ada" },
  from: ["203.0.113.7/32"],
});

function hostOn(props: LocalMachineProps): AgentHost<LocalMachine> {
  const stack = new TerraformStack(new App(), "s");
  return new AgentHost(stack, "ops", { machine: new LocalMachine(stack, "box", props), access });
}

const setting = (value: string) => {
  vi.stubEnv("BAILIWICK_TEST_ENGINE", value);
  return { engine: Setting.fromEnv("BAILIWICK_TEST_ENGINE") };
};

describe("the engine of a local machine", () => {
  afterEach(() => vi.unstubAllEnvs());

  it.each([
    ["nothing is said", () => ({}), "nspawn", "qemu"],
    ["a setting is not set", () => setting(""), "nspawn", "qemu"],
    ["nspawn is said", () => ({ engine: "nspawn" }), "nspawn", "nspawn"],
    ["qemu is said", () => ({ engine: "qemu" }), "qemu", "qemu"],
    ["a setting says nspawn", () => setting("nspawn"), "nspawn", "nspawn"],
    ["a setting says qemu", () => setting("qemu"), "qemu", "qemu"],
  ] as const)("when %s: with demo models, and with a real provider", (_, props, demo, real) => {
    const host = hostOn(props());
    host.addModel("demo", ModelProvider.demo());
    expect(host.toSpec().machine).toMatchObject({ engine: demo });
    expect(host.machine.generation.engine).toBe(demo);
    host.addModel("claude", ModelProvider.anthropic({ apiKey: Secret.fromEnv("ANTHROPIC_API_KEY") }));
    expect(host.toSpec().machine).toMatchObject({ engine: real });
    expect(host.machine.generation.engine).toBe(real);
    expect(host.machine.review()).toEqual({ refused: [], missing: [] });
  });

  it("is what the machine's generation is synthesised from, with the models added after it", () => {
    const host = hostOn({});
    host.addModel("claude", ModelProvider.anthropic({ apiKey: Secret.fromEnv("ANTHROPIC_API_KEY") }));
    const text = JSON.stringify(TerraformStack.of(host).toTerraform());
    expect(text).toContain(String.raw`\"engine\":\"qemu\"`);
    expect(text).not.toContain(String.raw`\"engine\":\"nspawn\"`);
  });
});

describe("the data volume of a local machine", () => {
  const SLOT = "0e1c9c9e-4f0f-4c58-9d32-7a5b7a8e7b11";
  const commands = (props: LocalMachineProps) => {
    const { terraform_data } = TerraformStack.of(hostOn(props)).toTerraform().resource as Record<
      string,
      Record<string, { provisioner?: { "local-exec"?: { command: string } }[] }>
    >;
    const all = Object.values(terraform_data ?? {}).flatMap(({ provisioner = [] }) => provisioner);
    const find = (verb: string) => JSON.stringify(all.find((one) => JSON.stringify(one).includes(verb)));
    return { boot: find("boot"), destroy: find("destroy") };
  };

  it("goes with the machine, unless the code says that it is kept", () => {
    expect(commands({}).destroy).not.toContain("--keep-data");
    expect(commands({ onDestroy: "delete" }).destroy).not.toContain("--keep-data");
    expect(commands({ onDestroy: "keep" }).destroy).toContain("--keep-data");
  });

  it("is taken over from a slot that kept one, which replaces no machine", () => {
    expect(commands({}).boot).not.toContain("--data-from");
    expect(commands({ dataFrom: SLOT }).boot).toContain(SLOT);
    expect(hostOn({ dataFrom: SLOT, onDestroy: "keep" }).machine.generation).toEqual(hostOn({}).machine.generation);
  });

  it("is refused when it is said wrongly", () => {
    expect(() => hostOn({ onDestroy: "perhaps" as "keep" })).toThrow(
      /LocalMachine "box": onDestroy: received "perhaps"/,
    );
    expect(() => hostOn({ dataFrom: "../../elsewhere" })).toThrow(
      /dataFrom: received "..\/..\/elsewhere"; give the slot/,
    );
  });
});
