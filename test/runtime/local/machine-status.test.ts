import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { listMachines, machineStatus } from "../../../runtime/local/machine-status.ts";
import { processOf } from "../../../runtime/local/processes.ts";

const SLOT = "0a1b2c3d-0000-4000-8000-000000000000";
const RECORD = {
  version: 1,
  slot: SLOT,
  instance: "11111111-1111",
  host: "local",
  engine: "nspawn",
  image: "00",
  port: 22000,
};

if (process.platform !== "linux") console.log("not run: machine status is read from Linux's /proc");

describe.skipIf(process.platform !== "linux")("machine status", () => {
  const saved = process.env.BAILIWICK_STATE;
  let state = "";
  beforeEach(() => {
    state = mkdtempSync(join(tmpdir(), "status-"));
    process.env.BAILIWICK_STATE = state;
  });
  afterEach(() => {
    rmSync(state, { recursive: true });
    if (saved === undefined) delete process.env.BAILIWICK_STATE;
    else process.env.BAILIWICK_STATE = saved;
  });

  const write = (name: string, text: string) => {
    mkdirSync(join(state, "local", SLOT), { recursive: true });
    writeFileSync(join(state, "local", SLOT, name), text);
  };

  it("is absent for a slot that never was, and nothing is listed", async () => {
    expect(await machineStatus(SLOT)).toEqual({ state: "absent", slot: SLOT, dataVolume: false });
    expect(await listMachines()).toEqual([]);
  });

  it("is absent where only a data volume is kept, and that is listed", async () => {
    write("data.img", "");
    const absent = { state: "absent", slot: SLOT, dataVolume: true };
    expect(await machineStatus(SLOT)).toEqual(absent);
    expect(await listMachines()).toEqual([absent]);
  });

  it("is stopped when the number in nspawn.pid belongs to another process by now", async () => {
    write("machine.json", JSON.stringify(RECORD));
    write("nspawn.pid", `${process.pid}\n`);
    const stopped = { slot: SLOT, instance: "11111111-1111", host: "local", address: "127.0.0.1", port: 22000 };
    expect(await machineStatus(SLOT)).toEqual({ state: "stopped", ...stopped });
  });

  it.each([
    ["tcg,thread=single", true],
    ["kvm", false],
  ])("says of a virtual machine started with -accel %s whether it is emulated: %s", async (accel, emulated) => {
    write("machine.json", JSON.stringify({ ...RECORD, engine: "qemu", memoryMiB: 1024, cpus: 1 }));
    const args = ["-e", "setTimeout(() => {}, 60_000)", "--", "-name", "guest=bw-0a1b2c3d", "-accel", accel];
    const standIn = spawn(process.execPath, args, { stdio: "ignore" });
    try {
      await once(standIn, "spawn");
      write("qemu.pid", `${standIn.pid} ${processOf(standIn.pid ?? 0)?.startTicks}\n`);
      expect(await machineStatus(SLOT)).toMatchObject({ state: "running", pid: standIn.pid, emulated });
    } finally {
      standIn.kill("SIGKILL");
    }
  });

  it("refuses a record that it cannot read, naming the file", async () => {
    write("machine.json", JSON.stringify({ ...RECORD, version: 2 }));
    await expect(machineStatus(SLOT)).rejects.toThrow(/machine\.json: not a machine record.*destroy/);
  });
});
