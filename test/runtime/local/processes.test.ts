import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { argumentsOf, initOf, isPopulated } from "../../../runtime/local/processes.ts";

const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

if (process.platform !== "linux") console.log("not run: processes of a Linux machine, this is another system");

// As nspawn as a unit has it: what holds the data volume's device was started before by the shell that became nspawn.
it.skipIf(process.platform !== "linux")(
  "the guest's init is told from an older child of the same process",
  async () => {
    const namespace = "unshare --user --map-root-user --pid --fork --kill-child sleep 61";
    const child = spawn("bash", ["-c", `sleep 60 & echo $!; exec ${namespace}`], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [older] = await once(child.stdout, "data");
    stops.push(() => {
      child.kill("SIGKILL");
      process.kill(Number(older), "SIGKILL");
    });
    const words = () => argumentsOf(initOf(child.pid ?? 0)?.pid ?? 0);
    await expect.poll(words).toEqual(["sleep", "61"]);
  },
);

it("whether anything lives in a cgroup is what the kernel says of it and all below; one that is gone has nothing", () => {
  const cgroup = mkdtempSync(join(tmpdir(), "bailiwick-cgroup-"));
  stops.push(() => rmSync(cgroup, { recursive: true }));
  const says = (text: string) => {
    writeFileSync(join(cgroup, "cgroup.events"), text);
    return isPopulated(cgroup);
  };
  expect(says("populated 1\nfrozen 0\n")).toBe(true);
  expect(says("populated 0\nfrozen 1\n")).toBe(false);
  expect(isPopulated(join(cgroup, "gone"))).toBe(false);
});
