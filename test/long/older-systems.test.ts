import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BASELINE_PACKAGES } from "../../cloud-init/baseline.ts";
import { generateSshKeyPair } from "../../constructs/openssh-key.ts";
import { ensureImage } from "../../runtime/local/image.ts";
import { Hosts, STRANGER } from "../integration/support/hetzner/hosts.ts";
import type { Server } from "../integration/support/hetzner/world.ts";
import { ok, Project } from "../integration/support/project.ts";
import { rackApp, rackUserData } from "../integration/support/rack.ts";

// Existing machines with real root file systems of older systems, whose nft has no `persist`, so that their firewall is watched
// and not owned, and whose systemd refuses nobody a port. What is the same as on Debian 13 is shown by
// existing-machine.test.ts.
const SYSTEMS = [
  {
    os: "debian-12",
    id: 12_000_001,
    release: "debian 12",
    systemd: "systemd 252",
    nft: "v1.0.6",
    sshd: /OpenSSH_9\.2/,
  },
] as const;

// Of a container the kernel and the clock are this machine's own, so these must object.
const NOT_A_CONTAINERS = ["root/clock", "root/kernel-settings"];

const own = generateSshKeyPair("");

describe.each(SYSTEMS)("a host on an existing machine with $os", ({ os, id, release, systemd, nft: version, sshd }) => {
  let hosts: Hosts;
  let project: Project;
  let address: string;
  const server = { id, name: "rack" } as Server;
  const onMachine = (script: string) => hosts.inServer(server.id, "/bin/sh", "-c", script);
  const nft = (...args: string[]) => hosts.inNetworkOf(server.id, ["nft", ...args]);
  const notHeld = async () => {
    const ran = await project.bailiwick(["verify", "rack", "--json"]);
    const report = JSON.parse(ran.stdout) as { held: number; probes: { id: string; verdict: string; found: string }[] };
    expect(report.held).toBeGreaterThan(50);
    return report.probes.filter(({ verdict }) => verdict !== "held");
  };

  beforeAll(async () => {
    hosts = new Hosts(await ensureImage({ os, packages: BASELINE_PACKAGES, progress: console.log }));
    project = new Project("", {}, hosts);
    const file = join(project.dir, "id_ed25519");
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "ada", "-f", file]);
    const key = readFileSync(`${file}.pub`, "utf8").trim();
    project.env.BAILIWICK_SSH_KEY = file;
    address = (await hosts.address("ipv4")) ?? "";
    const open = { direction: "in" as const, protocol: "tcp", port: "1-65535", source_ips: ["0.0.0.0/0"] };
    await hosts.create({ ...server, userData: rackUserData(key, own) }, [open], address);
    project.write(rackApp({ address, key, hostKey: own.publicKey }));
    await project.build("rack");
    for (let i = 0; i < 120 && !onMachine("ls /run/cloud-init").includes("result.json"); i++) await sleep(500);
    const refused = await project.bailiwick(["machine", "adopt", "rack", "--dry-run"]);
    expect(refused.text).toContain(`it runs ${os}; debian-13 is taken`);
    project.write(rackApp({ address, key, hostKey: own.publicKey, os }));
    ok(await project.cdktf(["deploy", "rack", "--auto-approve"]));
  });

  afterAll(async () => {
    await hosts?.close();
    project?.remove();
  });

  it("is what it says it is", () => {
    expect(onMachine(". /etc/os-release; echo $ID $VERSION_ID")).toBe(`${release}\n`);
    expect(onMachine("systemctl --version | head -1")).toContain(systemd);
    expect(onMachine("nft --version")).toContain(version);
    expect(onMachine("sshd -V 2>&1 || true")).toMatch(sshd);
  });

  it("answers", async () => {
    expect(ok(await project.bailiwick(["ask", "rack", "are you there?"])).stdout.trim()).not.toBe("");
  });

  it("holds everything that verify asks of it, but a kernel and a clock of its own", async () => {
    expect((await notHeld()).filter(({ id }) => !NOT_A_CONTAINERS.includes(id))).toEqual([]);
    expect(await hosts.says(address, 22, STRANGER)).toBe("silent");
  });

  it("has no unit of ours in which systemd did not know a setting", () => {
    const said = onMachine(
      "journalctl --no-pager -o cat _PID=1 | grep -iE 'unknown (key|lvalue|section)|failed to parse' || true",
    );
    expect(said.split("\n").filter((line) => line.includes("bailiwick"))).toEqual([]);
  });

  it("answers nobody on a port that is not a principal's, which systemd cannot refuse it there: the probe sees it", async () => {
    const rule = /meta skuid \d+ meta l4proto \{ tcp, udp \} th sport 1-32767/;
    const file = "$(readlink -f /opt/bailiwick/current)/etc/firewall.nft";
    const root = async (script: string) => {
      const text = Buffer.from(`set -e\n${script}\nsystemctl reload bailiwick-firewall`).toString("base64");
      ok(await project.bailiwick(["ssh", "rack", `echo ${text} | base64 -d | sudo sh`]));
    };
    expect(nft("list", "table", "inet", "bailiwick")).toMatch(rule);
    await root(`cp -p ${file} /root/kept
sed -i '/th sport 1-32767/d' ${file}`);
    const open = (await notHeld()).filter(({ id }) => id.endsWith("/bind"));
    expect(open.map(({ id, verdict }) => `${id} ${verdict}`).sort()).toEqual([
      "agent/puppet/bind broken",
      "gateway/bind broken",
      "model/demo/bind broken",
    ]);
    await root(`cp -p /root/kept ${file}`);
    expect((await notHeld()).filter(({ id }) => id.endsWith("/bind"))).toEqual([]);
  });

  it("puts its firewall back when others flush it, in no time that anybody could use", async () => {
    const before = nft("-s", "list", "ruleset");
    expect(before).not.toContain("owner");
    nft("flush", "ruleset");
    for (let i = 0; i < 100 && nft("-s", "list", "ruleset") !== before; i++) await sleep(20);
    expect(nft("-s", "list", "ruleset")).toBe(before);
    expect(await hosts.says(address, 22, STRANGER)).toBe("silent");
    expect(onMachine("journalctl -u bailiwick-firewall -o cat --no-pager")).toContain("changed by others; put back");
    expect((await notHeld()).filter(({ id }) => id.includes("firewall"))).toEqual([]);
  });

  it("keeps its rules when their holder ends, and its principals end with it", async () => {
    const rules = () => nft("-s", "list", "table", "inet", "bailiwick");
    const before = rules();
    ok(await project.bailiwick(["ssh", "rack", "sudo systemctl stop bailiwick-firewall"]));
    expect(rules()).toBe(before);
    expect((await project.bailiwick(["ssh", "rack", "systemctl is-active bailiwick-agent-puppet"])).stdout).toBe(
      "inactive\n",
    );
    // control: nobody puts it back now
    nft("delete", "table", "inet", "bailiwick_base");
    await sleep(1000);
    expect(nft("list", "tables")).not.toContain("bailiwick_base");
    ok(await project.bailiwick(["ssh", "rack", "sudo systemctl start bailiwick-firewall"]));
  });

  it("is let go by destroy", async () => {
    ok(await project.cdktf(["destroy", "rack", "--auto-approve"]));
    expect(hosts.hostKeys(address)).toEqual([own.publicKey]);
    expect(nft("list", "tables")).toBe("");
  });
});
