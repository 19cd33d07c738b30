import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { chooseAccelerator } from "../../../runtime/local/accelerator.ts";

// QEMU is a stand-in that writes down that it was started and says what a kernel would.
const hasKvm = existsSync("/dev/kvm");
if (!hasKvm) console.log("not run: there is no /dev/kvm to try");

describe("the accelerator", () => {
  let directory = "";
  let saved: NodeJS.ProcessEnv;
  const said: string[] = [];
  const choose = (image = "one") =>
    chooseAccelerator({ kernel: "/nowhere/vmlinuz", image, progress: (line) => said.push(line) });
  const starts = () => readFileSync(join(directory, "starts"), "utf8").trim().split("\n").length;
  const standIn = (script: string) =>
    writeFileSync(
      join(directory, "qemu-system-x86_64"),
      `#!/bin/sh\necho started >>${join(directory, "starts")}\n${script}\n`,
      { mode: 0o755 },
    );

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "accelerator-"));
    saved = { ...process.env };
    process.env.PATH = `${directory}:${process.env.PATH}`;
    process.env.BAILIWICK_CACHE = directory;
    said.length = 0;
  });
  afterEach(() => {
    process.env = saved;
    rmSync(directory, { recursive: true });
  });

  it.skipIf(hasKvm)("is none where there is no KVM, and that is said", async () => {
    expect(await choose()).toBe("tcg");
    expect(said.join()).toContain("no /dev/kvm");
  });

  it.skipIf(!hasKvm)("is KVM once a kernel was up, also if it would then go on for ever; tried once", async () => {
    standIn('echo "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"; exec sleep 60');
    expect(await choose()).toBe("kvm");
    expect(await choose()).toBe("kvm");
    expect(starts()).toBe(1);
    expect(said).toEqual(["trying whether KVM boots a guest"]);
  });

  it.skipIf(!hasKvm)("is tried anew with another kernel, and when what was kept cannot be read", async () => {
    standIn("echo Unable to mount root fs");
    await choose();
    await choose("two");
    expect(starts()).toBe(2);
    writeFileSync(join(directory, "kvm-trial.json"), "{");
    await choose("two");
    expect(starts()).toBe(3);
  });

  it.skipIf(!hasKvm)(
    "is not KVM when QEMU aborts or the kernel ends early; that is said each time, with why",
    async () => {
      standIn("echo Decompressing Linux; echo failed to set MSR 0x10a >&2; exit 134");
      expect([await choose(), await choose()]).toEqual(["tcg", "tcg"]);
      expect(starts()).toBe(1);
      expect(said.filter((line) => /failed to set MSR 0x10a.*emulated/.test(line))).toHaveLength(2);
    },
  );

  it.skipIf(!hasKvm)("is not KVM when nothing is up in time", async () => {
    standIn("echo Booting from ROM; exec sleep 60");
    expect(await choose()).toBe("tcg");
    expect(said.join()).toContain("no kernel was up within 15 s: Booting from ROM");
  });
});
