import { execFileSync, spawnSync } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BASELINE_PACKAGES } from "../../cloud-init/baseline.ts";
import { ensureImage } from "../../runtime/local/image.ts";
import {
  bootBeside,
  bootMachine,
  clearBeside,
  destroyMachine,
  listMachines,
  machineStatus,
  type RunningMachine,
  rebootMachine,
  startBeside,
  startMachine,
  stopMachine,
  takePlace,
} from "../../runtime/local/machine.ts";
import type { MachinePlan } from "../../runtime/local/machine-plan.ts";
import { attachData } from "../../runtime/local/nspawn.ts";
import { checkPrerequisites } from "../../runtime/local/prerequisites.ts";
import { besideOf, namesOf } from "../../runtime/local/slot.ts";
import { Guest, inAnotherProcess, serveOnLoopback, tracesOf } from "../runtime/local/guest.ts";

const lacking = (await checkPrerequisites()).filter(({ ok }) => !ok);
for (const { id, found, fix } of lacking) console.log(`not run: local machines need ${id} (${found}); ${fix}`);

describe.skipIf(lacking.length > 0)("a local machine", () => {
  const slot = randomUUID();
  const other = randomUUID();
  const saved = process.env.BAILIWICK_STATE;
  const work = mkdtempSync(join(tmpdir(), "local-machine-"));
  process.env.BAILIWICK_STATE = join(work, "state");
  const names = namesOf(slot);
  const steps: string[] = [];
  let guest: Guest;
  let plan: MachinePlan;
  let running: RunningMachine;
  let service: { readonly port: number; readonly stop: () => void };
  const inGuest = (command: string) => guest.ssh(running.port, command);

  beforeAll(async () => {
    // from before the boot: pasta's own default would forward what it finds at its start
    service = await serveOnLoopback();
    const image = await ensureImage({ os: "debian-13", packages: BASELINE_PACKAGES, progress: console.log });
    guest = new Guest(work);
    const { userData } = guest;
    const progress = (line: string) => steps.push(line);
    const sizes = { rootGiB: 4, dataGiB: 1 };
    plan = { slot, instance: randomUUID(), host: "local", engine: "nspawn", image, ...sizes, userData, progress };
  });
  afterAll(async () => {
    service?.stop();
    await destroyMachine(slot);
    await destroyMachine(other);
    if (saved === undefined) delete process.env.BAILIWICK_STATE;
    else process.env.BAILIWICK_STATE = saved;
    rmSync(work, { recursive: true, force: true });
  });

  const boot = async (change: Partial<MachinePlan> = {}) => {
    plan = { ...plan, ...change };
    running = await bootMachine(plan);
  };

  it("goes on running after the process that booted it, which it keeps waiting in no way", async () => {
    const json = JSON.stringify({ ...plan, progress: undefined });
    const code = `console.log("done", JSON.stringify(await local.bootMachine({ ...${json}, progress: () => {} })))`;
    const child = await inAnotherProcess(code);
    expect(child.text).toContain("done");
    expect(child.status).toBe(0);
    expect(child.closedMs - child.exitedMs).toBeLessThan(500);
    expect(child.exitedMs).toBeLessThan(60_000);
    const status = await machineStatus(slot);
    expect(status).toMatchObject({
      state: "running",
      slot,
      instance: plan.instance,
      host: "local",
      address: "127.0.0.1",
    });
    running = status as RunningMachine;
    expect(child.text).toContain(JSON.stringify(running));
  });

  it("is found again by any process, with the same answer", async () => {
    const { text } = await inAnotherProcess(`console.log(JSON.stringify(await local.machineStatus("${slot}")))`);
    expect(JSON.parse(text)).toEqual(running);
    expect(await listMachines()).toEqual([running]);
  });

  it("was set up by cloud-init under its own instance id and host name, and nothing in it failed", async () => {
    expect(inGuest("cloud-init status --wait")).toMatch(/status: done$/);
    expect(inGuest("systemctl is-system-running --wait")).toBe("running");
    expect(inGuest("sudo cloud-init query instance_id")).toBe(plan.instance);
    expect(inGuest("hostname")).toBe("local");
    expect(Number(inGuest("df --output=size -BM / | tail -1 | tr -d M"))).toBeGreaterThan(3500);
    expect(inGuest("ls /etc/ssh/*.pub")).toBe("/etc/ssh/ssh_host_ed25519_key.pub");
  });

  it("is left alone when the same instance is booted again", async () => {
    const before = running;
    await boot();
    expect(running).toEqual(before);
  });

  it("was given nothing of the environment of whoever booted it, and its seed is nowhere but in its root disk", () => {
    const pids = tracesOf(slot).flatMap((row) => /^process (\d+)/.exec(row)?.[1] ?? []);
    expect(pids.length).toBeGreaterThan(3);
    const environments = pids.map((pid) => readIfThere(`/proc/${pid}/environ`));
    expect(environments.join("")).toContain("container=systemd-nspawn");
    expect(environments.join("")).not.toContain("canary-in-the-environment");
    const files = readdirSync(names.directory).filter((name) => !name.endsWith(".img") && name !== "root");
    expect(files).toContain("console.log");
    for (const name of files) expect(readFileSync(join(names.directory, name), "utf8")).not.toContain("PRIVATE KEY");
  });

  it("cannot reach a service on the operator's loopback, by its own loopback or by its gateway", async () => {
    const connect = (address: string) =>
      `timeout 3 bash -c 'exec 3<>/dev/tcp/${address}/${service.port} && cat <&3' 2>/dev/null || echo refused`;
    expect(execFileSync("sh", ["-c", connect("127.0.0.1")], { encoding: "utf8" })).toBe("reached");
    const ask = (address: string) => inGuest(connect(address));
    expect([ask("127.0.0.1"), ask("10.77.0.1"), ask("10.77.0.2")]).toEqual(["refused", "refused", "refused"]);
  });

  it("is still reached when clients have vanished in the midst of what it was telling them", async () => {
    for (let i = 0; i < 5; i++) await guest.sshAndVanish(running.port);
    expect(inGuest("hostname")).toBe("local");
  });

  it("has one resolver, its gateway", () => {
    expect(inGuest("cat /etc/resolv.conf")).toBe("nameserver 10.77.0.1");
  });

  it("comes back from a reboot on the same port, without the firewall of the boot before", async () => {
    const bootId = inGuest("cat /proc/sys/kernel/random/boot_id");
    inGuest("sudo nft add table inet leftover");
    const before = running;
    running = await rebootMachine(slot);
    expect(running).toMatchObject({ ...before, pid: expect.any(Number), since: expect.any(String) });
    expect(running.pid).not.toBe(before.pid);
    expect(inGuest("cat /proc/sys/kernel/random/boot_id")).not.toBe(bootId);
    expect(inGuest("sudo nft list tables")).not.toContain("leftover");
  });

  it("reboots when it is asked to from inside", async () => {
    const before = running.pid;
    inGuest("sudo systemd-run --on-active=0 systemctl reboot");
    await expect.poll(() => machineStatus(slot), { timeout: 20_000 }).not.toMatchObject({ pid: before });
    running = await startMachine(slot);
    expect(inGuest("hostname")).toBe("local");
  });

  it("powers off in order, keeps its port while it stands still, and starts again", async () => {
    inGuest("sudo systemd-run -q --unit=farewell -p ExecStop='/usr/bin/touch /var/tmp/farewell' sleep infinity");
    await stopMachine(slot);
    const { pid: _, since: __, ...known } = running;
    expect(await machineStatus(slot)).toEqual({ ...known, state: "stopped" });
    expect(tracesOf(slot)).toEqual([names.directory]);
    const { port } = running;
    running = await startMachine(slot);
    expect(running.port).toBe(port);
    expect(inGuest("ls /var/tmp/farewell")).toBe("/var/tmp/farewell");
  });

  it("takes another port, and says so, when its own was taken meanwhile", async () => {
    await stopMachine(slot);
    const { port } = running;
    const squatter = createServer((socket) => socket.end("SSH-2.0-another\r\n"));
    await new Promise<void>((done) => squatter.listen(port, "127.0.0.1", done));
    try {
      const said: string[] = [];
      running = await startMachine(slot, { progress: (line) => said.push(line) });
      expect(running.port).not.toBe(port);
      expect(said.join("\n")).toContain(`port ${port} is taken`);
      expect(inGuest("hostname")).toBe("local");
    } finally {
      squatter.close();
    }
  });

  it.each([
    ["pasta", names.pastaPid],
    ["its forward", names.forwardPid],
  ])("gets its way in and out back when %s was killed", async (_, pidFile) => {
    process.kill(Number.parseInt(readFileSync(pidFile, "utf8"), 10), "SIGKILL");
    const { pid, port } = running;
    running = await startMachine(slot);
    expect(running).toMatchObject({ pid, port });
    expect(inGuest("hostname")).toBe("local");
  });

  const packed = () => {
    const path = join(work, "component.tar.zst");
    mkdirSync(join(work, "component"), { recursive: true });
    writeFileSync(join(work, "component/said"), "placed\n");
    execFileSync("tar", ["--zstd", "-c", "-f", path, "-C", join(work, "component"), "said"]);
    const bytes = readFileSync(path);
    return { path, bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
  };
  const digest = "c0".repeat(32);
  const placed = `/opt/bailiwick/components/${digest}`;
  const lookAtPlaced = `cat ${placed}/said; stat -c '%U %a' ${placed}/said; sudo ls /opt/bailiwick/incoming`;

  it.each([
    ["its image is none", () => ({ image: { digest: "0", path: "/dev/null" } })],
    [
      "a component is not what it should be",
      () => ({ components: [{ digest, archive: { ...packed(), sha256: digest } }] }),
    ],
  ])("goes on as it was when what was to replace it cannot be made, because %s", async (_, change) => {
    const before = await machineStatus(slot);
    const files = readdirSync(names.directory);
    const failing = bootMachine({ ...plan, instance: randomUUID(), ...change() });
    await expect(failing).rejects.toThrow(/prepare-root\.sh ended with/);
    expect(await machineStatus(slot)).toEqual(before);
    expect(inGuest("hostname")).toBe("local");
    expect(readdirSync(names.directory)).toEqual(files);
  });

  it("gets a new root disk with another instance id, and finds its data volume", async () => {
    const device = "/dev/disk/by-id/bailiwick-data";
    inGuest(
      `sudo mkfs.xfs -q ${device} && sudo mount ${device} /mnt && echo kept | sudo tee /mnt/mark && sudo touch /old`,
    );
    await boot({ instance: randomUUID(), components: [{ digest, archive: packed() }] });
    expect(inGuest("sudo cloud-init query instance_id")).toBe(plan.instance);
    expect(inGuest("ls /").split("\n")).not.toContain("old");
    expect(inGuest(lookAtPlaced)).toBe("placed\nroot 644");
    expect(inGuest(`sudo mount ${device} /mnt && cat /mnt/mark`)).toBe("kept");
  });

  it("serves until one that was made beside it takes its place, and only then its data volume goes over", async () => {
    const device = "/dev/disk/by-id/bailiwick-data";
    const old = running;
    const next = await bootBeside({ ...plan, engine: "nspawn", instance: randomUUID() });
    expect(await machineStatus(slot)).toEqual(old);
    expect(await machineStatus(slot, next.instance)).toEqual(next);
    expect(guest.ssh(next.port, "ls /dev/disk/by-id")).toBe("");
    // not even by mistake
    await expect(attachData(besideOf(slot))).rejects.toThrow(/data\.img is still in use by \/dev\/loop/);
    expect(inGuest("cat /mnt/mark")).toBe("kept");

    await takePlace(slot, next.instance, () => {});
    await takePlace(slot, next.instance, () => {}); // as after a push that was cut
    await clearBeside(slot);
    [running, plan] = [next, { ...plan, instance: next.instance }];
    expect(await machineStatus(slot)).toEqual(running);
    expect(inGuest(`sudo mount ${device} /mnt && cat /mnt/mark`)).toBe("kept");
    expect(tracesOf(slot).filter((row) => /bw-[0-9a-f]{8}(?!-b)\b/.test(row))).toEqual([]);

    running = await rebootMachine(slot);
    expect(inGuest(`sudo mount ${device} /mnt && cat /mnt/mark`)).toBe("kept");
    await stopMachine(slot);
    expect(tracesOf(slot)).toEqual([names.directory]);
    running = await startMachine(slot);
    expect(inGuest(`sudo mount ${device} /mnt && cat /mnt/mark`)).toBe("kept");
  });

  it("is left as it was by one beside it that does not come up, and by one that is given up", async () => {
    const before = running;
    const beside = () => bootBeside({ ...plan, engine: "nspawn", instance: randomUUID(), bootSeconds: 1 });
    await expect(beside()).rejects.toThrow(/no SSH server answered within 1 s/);
    expect(await machineStatus(slot)).toEqual(before);
    await bootBeside({ ...plan, engine: "nspawn", instance: randomUUID() });
    await clearBeside(slot);
    expect(await machineStatus(slot)).toEqual(before);
    expect(inGuest("cat /mnt/mark")).toBe("kept");
  });

  it("is started again with the one that waits beside it, which still has no data volume", async () => {
    const waiting = await bootBeside({ ...plan, engine: "nspawn", instance: randomUUID() });
    await stopMachine(slot);
    expect(await machineStatus(slot, waiting.instance)).toMatchObject({ state: "stopped", instance: waiting.instance });
    running = await startMachine(slot);
    await startBeside(slot);
    expect(await machineStatus(slot, waiting.instance)).toMatchObject({ state: "running", instance: waiting.instance });
    const { port } = (await machineStatus(slot, waiting.instance)) as RunningMachine;
    expect(guest.ssh(port, "ls /dev/disk/by-id")).toBe("");
    expect(inGuest("sudo mount /dev/disk/by-id/bailiwick-data /mnt && cat /mnt/mark")).toBe("kept");
    await clearBeside(slot);
    expect(await machineStatus(slot)).toEqual(running);
  });

  it("can be made twice at once in two slots", async () => {
    const [mine, theirs] = await Promise.all([
      bootMachine({ ...plan, instance: randomUUID() }),
      bootMachine({ ...plan, slot: other, instance: randomUUID() }),
    ]);
    expect(theirs.port).not.toBe(mine.port);
    expect(guest.ssh(mine.port, "cat /etc/machine-id")).not.toBe(guest.ssh(theirs.port, "cat /etc/machine-id"));
    await destroyMachine(other);
    expect(tracesOf(other)).toEqual([]);
    running = mine;
    expect(inGuest("hostname")).toBe("local");
  });

  it("leaves nothing but its data volume when it is destroyed with that kept, also after a kill of nspawn", async () => {
    process.kill(running.pid ?? 0, "SIGKILL");
    await expect.poll(() => machineStatus(slot)).not.toHaveProperty("pid");
    expect(await machineStatus(slot)).toMatchObject({ state: "running" }); // the guest lives on
    await destroyMachine(slot, { keepData: true });
    expect(tracesOf(slot)).toEqual([names.directory]);
    expect(readdirSync(names.directory)).toEqual(["data.img"]);
    expect(await machineStatus(slot)).toEqual({ state: "absent", slot, dataVolume: true });

    await boot({ instance: randomUUID() });
    expect(inGuest("sudo mount /dev/disk/by-id/bailiwick-data /mnt && cat /mnt/mark")).toBe("kept");
    expect(inGuest(lookAtPlaced), "where there was no machine, it is placed while one boots").toBe("placed\nroot 644");
  });

  it("comes up without a component that is not what it should be, and says so", async () => {
    await destroyMachine(slot, { keepData: true });
    const archive = packed();
    const spoilt = { digest: "5b".repeat(32), archive: { ...archive, sha256: digest } };
    const absent = { digest: "ab".repeat(32), archive: { ...archive, path: join(work, "absent.tar.zst") } };
    await boot({ instance: randomUUID(), components: [spoilt, absent, { digest, archive }] });
    expect(inGuest("ls /opt/bailiwick/components; sudo ls /opt/bailiwick/incoming")).toBe(digest);
    expect(steps.filter((step) => /left to the push/.test(step)).sort()).toEqual([
      'component 5b5b5b5b5b5b is left to the push: its receiver said "corrupt"',
      expect.stringMatching(/^component abababababab is left to the push: ENOENT: .*absent\.tar\.zst/),
    ]);
    plan = { ...plan, components: [{ digest, archive }] };
  });

  it("takes over the data volume that another slot kept, and no other's", async () => {
    const elsewhere = randomUUID();
    const boots = (dataFrom: string) => bootMachine({ ...plan, slot: elsewhere, instance: randomUUID(), dataFrom });
    try {
      await expect(boots(slot)).rejects.toThrow(/whose machine of host "local" is still there/);
      await expect(boots(randomUUID())).rejects.toThrow(/which has no data volume/);
      await destroyMachine(slot, { keepData: true });
      const inode = statSync(names.dataDisk).ino;
      await boots(slot);
      expect(statSync(namesOf(elsewhere).dataDisk).ino).toBe(inode);
      expect(tracesOf(slot)).toEqual([]);
    } finally {
      await destroyMachine(elsewhere);
    }
  });

  const endless = join(work, "endless");
  beforeAll(() => void execFileSync("mkfifo", [endless]));

  it("leaves nothing at all when it is destroyed, also twice, and when it never was", async () => {
    await destroyMachine(slot);
    expect(tracesOf(slot)).toEqual([]);
    await destroyMachine(slot);
    await destroyMachine(randomUUID());
    expect(await machineStatus(slot)).toEqual({ state: "absent", slot, dataVolume: false });
  });

  it.each([
    ["its image is none", { image: { digest: "0", path: "/dev/null" } }, /prepare-root\.sh ended with/],
    [
      "it powers off at once",
      { userData: "#cloud-config\nbootcmd: [[poweroff, -f]]\n" },
      /ended before its SSH.*Powering off/s,
    ],
    ["its time is up", { bootSeconds: 1 }, /no SSH server answered within 1 s; its console said last:\n.+/s],
    [
      "its time is up, in the midst of a component",
      { bootSeconds: 1, components: [{ digest, archive: { path: endless, bytes: 1000, sha256: digest } }] },
      /no SSH server answered within 1 s/,
    ],
  ])("that does not come up because %s is stopped, and nothing of it runs or is held", async (_, change, message) => {
    const writer = openSync(endless, "r+"); // who reads it waits for more
    const failing = bootMachine({ ...plan, instance: randomUUID(), ...change });
    await expect(failing).rejects.toThrow(message);
    closeSync(writer);
    expect(tracesOf(slot)).toEqual([names.directory]);
    expect(await machineStatus(slot)).toMatchObject({ state: "absent" });
    expect(readdirSync(names.directory)).not.toContain("root.img");
    await destroyMachine(slot);
    expect(tracesOf(slot)).toEqual([]);
  });
});

describe.skipIf(lacking.length > 0)("a local machine's resolver", () => {
  it("asks the operator's first one, on loopback too", async () => {
    const work = mkdtempSync(join(tmpdir(), "local-resolver-"));
    const slot = randomUUID();
    mkdirSync(join(work, "local", slot), { recursive: true });
    const program = resolve(import.meta.dirname, "../runtime/local/ask-resolver.ts");
    const own = [
      "-m",
      "--propagation",
      "private",
      process.execPath,
      "--import",
      "tsx",
      program,
      slot,
      "127.53.0.9",
      work,
    ];
    const env = { ...process.env, BAILIWICK_STATE: work };
    expect(spawnSync("unshare", own, { encoding: "utf8", env })).toMatchObject({
      stderr: "",
      stdout: "answer to a question\n",
    });
    rmSync(work, { recursive: true });
    expect(tracesOf(slot)).toEqual([]);
  });
});

/** A process of the guest may have ended since it was listed. */
function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
