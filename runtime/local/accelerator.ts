import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { release } from "node:os";
import { join } from "node:path";
import * as z from "zod";
import { cacheDirectory } from "./directories.ts";
import { QEMU } from "./qemu.ts";
import { type Accelerator, processorArguments } from "./qemu-arguments.ts";
import { cleanEnvironment } from "./run-program.ts";

/** With KVM a kernel is there within 2 s; one that is not by then hangs, or would be no faster than without. */
const TRIAL_SECONDS = 15;
/** What a kernel says that has done all but mount its root, which the trial does not give it. */
const REACHED = "Unable to mount root fs";

const Trial = z.strictObject({ of: z.string(), works: z.boolean(), found: z.string() });
type Trial = z.infer<typeof Trial>;

export interface AcceleratorInputs {
  /** Path of the kernel to try, and digest of the image it belongs to. */
  readonly kernel: string;
  readonly image: string;
  readonly progress: (line: string) => void;
}

/**
 * KVM if it really boots this kernel, else translation, which `progress` is warned of. That `/dev/kvm` can be opened says
 * little: nested and paravirtual ones open and then run no guest. The trial takes 15 s at most, and its outcome is kept in
 * the cache directory for as long as this machine runs the same kernel without a reboot.
 */
export async function chooseAccelerator(inputs: AcceleratorInputs): Promise<Accelerator> {
  const { works, found } = await trial(inputs);
  if (works) return "kvm";
  inputs.progress(`KVM runs no guest here (${found}): the machine is emulated, which is about ten times slower`);
  return "tcg";
}

async function trial({ kernel, image, progress }: AcceleratorInputs): Promise<Trial> {
  if (!existsSync("/dev/kvm")) return { of: "", works: false, found: "there is no /dev/kvm" };
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  const of = `kernel ${release()}, boot ${boot}, image ${image}`;
  const cached = join(cacheDirectory(), "kvm-trial.json");
  const known = await readTrial(cached);
  if (known?.of === of) return known;
  progress("trying whether KVM boots a guest");
  const outcome = { of, ...(await bootOnce(kernel)) };
  await mkdir(cacheDirectory(), { recursive: true, mode: 0o700 });
  await writeFile(`${cached}.${process.pid}`, `${JSON.stringify(outcome)}\n`, { mode: 0o600 });
  await rename(`${cached}.${process.pid}`, cached);
  return outcome;
}

async function readTrial(path: string): Promise<Trial | undefined> {
  try {
    return Trial.parse(JSON.parse(await readFile(path, "utf8")));
  } catch {
    return undefined; // none, or none that this version can read: try again
  }
}

/** Boots the kernel with no disk at all, until it asks for one. */
function bootOnce(kernel: string): Promise<Omit<Trial, "of">> {
  const args = [
    ["-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"],
    processorArguments("kvm"),
    ["-m", "512", "-serial", "stdio", "-kernel", kernel, "-append", "console=ttyS0 panic=-1"],
  ].flat();
  return new Promise((resolve) => {
    const child = spawn(QEMU, args, { stdio: ["ignore", "pipe", "pipe"], env: cleanEnvironment() });
    let console = "";
    let errors = "";
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, TRIAL_SECONDS * 1000);
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      errors += text;
    });
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      console += text;
      if (console.includes(REACHED)) child.kill("SIGKILL");
    });
    child.on("error", (error) => {
      errors += error.message;
    });
    child.on("close", () => {
      clearTimeout(timer);
      if (console.includes(REACHED)) return resolve({ works: true, found: "a kernel booted" });
      const last = (errors.trim() || console.trim()).split("\n").at(-1)?.trim().slice(0, 200);
      const how = late ? `no kernel was up within ${TRIAL_SECONDS} s` : "QEMU ended before a kernel was up";
      resolve({ works: false, found: last ? `${how}: ${last}` : how });
    });
  });
}
