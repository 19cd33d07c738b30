import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BASELINE_PACKAGES } from "../../cloud-init/baseline.ts";
import { generateSshKeyPair } from "../../constructs/openssh-key.ts";
import { ensureImage } from "../../runtime/local/image.ts";
import { Hosts, STRANGER } from "./support/hetzner/hosts.ts";
import type { Server } from "./support/hetzner/world.ts";
import { ok, Project } from "./support/project.ts";
import { changed, filesOf, rackApp, rackUserData, STAYS, sshAs } from "./support/rack.ts";

// A machine that was there before, by the real cdktf, Terraform and bailiwick: a container with a plain sshd and a user who
// may sudo, in a network of its own; see support/hetzner/hosts.ts. Nothing of the kit is on it when it is met.

const missing = process.getuid?.() === 0 ? undefined : "a machine needs root";
if (missing !== undefined) console.log(`not run: an existing machine: ${missing}`);

// Of a container the kernel and the clock are this machine's own, so these must object.
const NOT_A_CONTAINERS = ["root/clock", "root/kernel-settings"];

const own = generateSshKeyPair("");

describe.skipIf(missing !== undefined)("a host on a machine that was there before", () => {
  let hosts: Hosts;
  let project: Project;
  let address: string;
  let key: string;
  let files: Map<string, string>;
  const server = { id: 10_000_001, name: "rack" } as Server;
  const flat = (text: string) => text.replace(/[\s│]+/g, " ");
  const onMachine = (script: string) => hosts.inServer(server.id, "/bin/sh", "-c", script);
  const listing = () => filesOf(onMachine);
  const ssh = (user: string, command = "id -un") => sshAs(user, command, { project, address, own });
  const dryRun = async () => {
    const ran = await project.bailiwick(["machine", "adopt", "rack", "--dry-run", "--json"]);
    return {
      code: ran.code,
      text: ran.text,
      ...(JSON.parse(ran.stdout) as { files: { path: string; change: string }[]; also: string[]; others: string[] }),
    };
  };

  beforeAll(async () => {
    const image = await ensureImage({ os: "debian-13", packages: BASELINE_PACKAGES, progress: console.log });
    hosts = new Hosts(image);
    project = new Project("", {}, hosts);
    const file = join(project.dir, "id_ed25519");
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "ada", "-f", file]);
    key = readFileSync(`${file}.pub`, "utf8").trim();
    project.env.BAILIWICK_SSH_KEY = file;
    address = (await hosts.address("ipv4")) ?? "";
    const open = { direction: "in" as const, protocol: "tcp", port: "1-65535", source_ips: ["0.0.0.0/0"] };
    await hosts.create({ ...server, userData: rackUserData(key, own) }, [open], address);
    project.write(rackApp({ address, key, hostKey: own.publicKey }));
    await project.build("rack");
    for (let i = 0; i < 40 && (await ssh("deploy")).code !== 0; i++) await sleep(250);
    while (!onMachine("ls /run/cloud-init/result.json 2>/dev/null || true").includes("result")) await sleep(250);
  });

  afterAll(async () => {
    await hosts?.close();
    project?.remove();
  });

  it("refuses a machine that runs other things, names them, and leaves it as it was", async () => {
    ok(await ssh("deploy", "sudo systemd-run -q --unit=shop python3 -m http.server 8080"));
    onMachine("useradd -m -s /bin/bash bob; mkdir ~bob/.ssh; echo ssh-ed25519 AAAA bob >~bob/.ssh/authorized_keys");
    for (let i = 0; i < 40 && (await hosts.says(address, 8080)) === "refused"; i++) await sleep(100);
    files = listing();
    const ran = await project.cdktf(["deploy", "rack", "--auto-approve"]);
    expect(ran.code).not.toBe(0);
    expect(flat(ran.text)).toContain("the machine was left as it is service shop.service runs");
    expect(flat(ran.text)).toMatch(/python3 \(shop\.service\) listens on tcp 0\.0\.0\.0:8080/);
    expect(flat(ran.text)).toContain('account "bob" can log in');
    expect(flat(ran.text)).toContain("set adopt: true");
    expect(changed(files, listing())).toEqual([]);
  });

  it("offers nothing to a machine that shows another host key than the one given", async () => {
    const spec = join(project.dir, "cdktf.out/stacks/rack/bailiwick/rack.json");
    const text = readFileSync(spec, "utf8");
    writeFileSync(spec, text.replace(own.publicKey, generateSshKeyPair("").publicKey));
    const ran = await project.bailiwick(["machine", "adopt", "rack", "--dry-run"]);
    writeFileSync(spec, text);
    expect(ran.code).toBe(3);
    expect(ran.text).toContain("no credential was offered");
  });

  it("says file by file what it would change, and changes nothing", async () => {
    ok(await ssh("deploy", "sudo systemctl stop shop; sudo userdel -r bob 2>&1 || true"));
    files = listing();
    const told = await dryRun();
    expect(told.code, told.text).toBe(0);
    expect(told.files).toContainEqual(expect.objectContaining({ path: "/etc/fstab", change: "changed" }));
    expect(told.files).toContainEqual(
      expect.objectContaining({ path: "/etc/systemd/system/bailiwick-firewall.service", change: "added" }),
    );
    expect(told.also).toContain("put aside /home/deploy/.ssh/authorized_keys");
    expect(told.also).toContain('make account "ada" with uid 1000');
    expect(changed(files, listing())).toEqual([]);
  });

  it("puts on it what it has told, by one deploy, and the agent answers", async () => {
    const told = await dryRun();
    ok(await project.cdktf(["deploy", "rack", "--auto-approve"]));
    const now = listing();
    const inTold = new Set(told.files.map(({ path }) => path));
    for (const path of inTold) expect([...now.keys()], path).toContain(path);
    // what is not told as a file is told otherwise, or came with the release
    const OTHERWISE =
      /^\/etc\/(passwd|shadow|group|gshadow|subuid|subgid)-?$|^\/(home|opt|var\/backups)\/|^\/etc\/ssh\/|^\/etc\/cloud\/|^\/etc\/sudoers\.d\/90-cloud|^\/etc\/bailiwick\/|^\/etc\/systemd\/system\/.*(bailiwick-|\.wants\/)|^\/etc\/\.|^\/etc\/\.pwd|^\/root\//;
    expect(changed(files, now).filter((path) => !inTold.has(path) && !OTHERWISE.test(path))).toEqual([]);
    const asked = ok(await project.bailiwick(["ask", "rack", "are you there?"]));
    expect(asked.stdout.trim()).not.toBe("");
  });

  it("holds everything that a local host holds, but a kernel and a clock of its own", async () => {
    const ran = await project.bailiwick(["verify", "rack", "--json"]);
    const report = JSON.parse(ran.stdout) as { held: number; probes: { id: string; verdict: string }[] };
    expect(
      report.probes
        .filter(({ verdict }) => verdict !== "held")
        .map(({ id }) => id)
        .sort(),
    ).toEqual(NOT_A_CONTAINERS);
    expect(report.held).toBeGreaterThan(50);
    expect(await hosts.says(address, 22, STRANGER)).toBe("silent");
  });

  it("changes nothing when it is deployed, or taken, again", async () => {
    const before = listing();
    expect(flat(ok(await project.cdktf(["deploy", "rack", "--auto-approve"])).text)).toMatch(
      /No changes|0 added, 0 changed/,
    );
    expect(await dryRun()).toMatchObject({ code: 0, files: [], also: [] });
    expect(ok(await project.bailiwick(["machine", "adopt", "rack"])).text).toContain("nothing changed");
    expect(changed(before, listing()).filter((path) => path !== "/etc/bailiwick/baseline.json")).toEqual([]);
  });

  it("lets in nobody by the ways there were before, and shows another key", async () => {
    const [shown] = hosts.hostKeys(address);
    expect(shown).toMatch(/^ssh-ed25519 /);
    expect(shown).not.toBe(own.publicKey);
    expect((await ssh("deploy")).text).toContain("Host key verification failed");
    expect(onMachine("cat /home/deploy/.ssh/authorized_keys 2>&1 || true")).toContain("No such file");
  });

  it("is let go by destroy: what was there is there again, and what stays is said", async () => {
    const ran = ok(await project.cdktf(["destroy", "rack", "--auto-approve"]));
    expect(flat(ran.text)).toContain("the machine is let go");
    expect(flat(ran.text)).toContain("stays: kernel settings");
    expect(hosts.hostKeys(address)).toEqual([own.publicKey]);
    expect((await ssh("deploy")).stdout.trim()).toBe("deploy");
    expect((await ssh("ada")).code).not.toBe(0);
    expect(changed(files, listing()).filter((path) => !STAYS.test(path))).toEqual([]);
    const left = "getent passwd | grep ^bw-; systemctl list-units --all 'bailiwick*' --no-legend; sudo nft list tables";
    expect((await ssh("deploy", left)).stdout).toBe("");
    expect(onMachine("blkid -o value -s LABEL /dev/disk/by-id/bailiwick-data")).toBe("bw-data\n");
  });

  it("is taken with what runs on it when adopt says so: it goes on, behind the host's firewall", async () => {
    ok(await ssh("deploy", "sudo systemd-run -q --unit=shop python3 -m http.server 8080"));
    for (let i = 0; i < 40 && (await hosts.says(address, 8080)) === "refused"; i++) await sleep(100);
    expect(await hosts.says(address, 8080)).toBe("nothing");
    project.write(rackApp({ address, key, hostKey: own.publicKey, adopt: true }));
    ok(await project.cdktf(["deploy", "rack", "--auto-approve"]));
    expect(await hosts.says(address, 8080)).toBe("silent");
    expect(ok(await project.bailiwick(["ssh", "rack", "systemctl is-active shop"])).stdout.trim()).toBe("active");
    const report = await project.bailiwick(["verify", "rack"]);
    expect(report.text).toMatch(/broken: root\/listeners[\s\S]*0\.0\.0\.0:8080/);
    ok(await project.cdktf(["destroy", "rack", "--auto-approve"]));
    expect(await hosts.says(address, 8080)).toBe("nothing");
  });
});
