import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { emulationWarning, isEmulated } from "../../../runtime/cli/emulation.ts";
import { processOf } from "../../../runtime/local/processes.ts";
import type { Bindings } from "../../../runtime/spec/binding.ts";
import { exampleSpec } from "../../fixtures/spec.ts";

const OTHER = {
  uid: 20102,
  runtime: { kind: "command", argv: ["node", "./main.mjs"], env: {}, health: null, ask: null, source: "echo" },
  budget: exampleSpec().budget,
} as never;

it("names the agents that are slow on an emulated machine, and the wait that is too short for them", () => {
  const spec = exampleSpec();
  const given = (healthSeconds: number) =>
    emulationWarning({
      ...{ ...spec, agents: { ...spec.agents, echo: OTHER } },
      timeouts: { ...spec.timeouts, healthSeconds },
    });
  expect(given(180)).toMatch(
    /OpenClaw \(agents: ops\) takes .*healthSeconds is 180, .*give it 3600, or use engine "nspawn"/,
  );
  expect(given(3600)).toMatch(/OpenClaw \(agents: ops\) takes ten minutes and more$/);
});

it("says nothing where no agent is OpenClaw", () => {
  expect(emulationWarning({ ...exampleSpec(), agents: { echo: OTHER } })).toBeUndefined();
});

if (process.platform !== "linux") console.log("not run: what a machine was started with is read from Linux's /proc");

describe.skipIf(process.platform !== "linux")("whether a host is emulated", () => {
  const SLOT = "0a1b2c3d-0000-4000-8000-000000000000";
  const bindings = (machine: object) => ({ machine }) as Bindings;
  const local = bindings({ kind: "local", slot: SLOT, instance: "11111111-1111" });
  const saved = process.env.BAILIWICK_STATE;
  let state = "";
  beforeEach(() => {
    state = mkdtempSync(join(tmpdir(), "emulation-"));
    process.env.BAILIWICK_STATE = state;
  });
  afterEach(() => {
    rmSync(state, { recursive: true });
    if (saved === undefined) delete process.env.BAILIWICK_STATE;
    else process.env.BAILIWICK_STATE = saved;
  });

  it("is not said of one that is elsewhere, nor of one that does not run", async () => {
    expect(await isEmulated(bindings({ kind: "remote", instance: "1", address: "192.0.2.1" }))).toBe(false);
    expect(await isEmulated(local)).toBe(false);
  });

  it.each([
    ["tcg,thread=single", true],
    ["kvm", false],
  ])("is told by its QEMU: -accel %s: %s", async (accel, emulated) => {
    const folder = join(state, "local", SLOT);
    mkdirSync(folder, { recursive: true });
    const sizes = { engine: "qemu", memoryMiB: 1024, cpus: 1, image: "00", port: 22000, host: "local" };
    const record = { version: 1, slot: SLOT, instance: "11111111-1111", ...sizes };
    writeFileSync(join(folder, "machine.json"), JSON.stringify(record));
    const args = ["-e", "setTimeout(() => {}, 60_000)", "--", "-name", "guest=bw-0a1b2c3d", "-accel", accel];
    const standIn = spawn(process.execPath, args, { stdio: "ignore" });
    try {
      await once(standIn, "spawn");
      writeFileSync(join(folder, "qemu.pid"), `${standIn.pid} ${processOf(standIn.pid ?? 0)?.startTicks}\n`);
      expect(await isEmulated(local)).toBe(emulated);
    } finally {
      standIn.kill("SIGKILL");
    }
  });
});
