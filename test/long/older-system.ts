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
import { changed, filesOf, rackApp, rackUserData, STAYS, sshAs } from "../integration/support/rack.ts";

/** A system whose own root file system is booted as a machine that was there before, and what is known of it. */
interface OlderSystem {
  readonly os: "debian-12" | "ubuntu-24.04";
  /** ID and VERSION_ID of its /etc/os-release. */
  readonly release: string;
  /** How its programs say which version they are. */
  readonly systemd: string;
  readonly nft: string;
  readonly sshd: RegExp;
  /** Whether its sshd is started by ssh.socket, as Ubuntu's is. */
  readonly socket: boolean;
  /** Why its image cannot be had here: then its tests are skipped, and say so. */
  readonly missing?: string | undefined;
}

// Of a container the kernel and the clock are this machine's own, so these must object.
const NOT_A_CONTAINERS = ["root/clock", "root/kernel-settings"];

const own = generateSshKeyPair("");

/**
 * Tests of a host on an existing machine with a system whose nft has no `persist`, so that its firewall is watched and not
 * owned, and whose systemd refuses nobody a port. What is the same as on Debian 13 is shown by existing-machine.test.ts.
 */
export function olderSystem({ os, release, systemd, nft: version, sshd, socket, missing }: OlderSystem): void {
  if (missing !== undefined) console.log(`not run: an existing machine with ${os}: ${missing}`);

  describe.skipIf(missing !== undefined)(`a host on an existing machine with ${os}`, () => {
    let hosts: Hosts;
    let project: Project;
    let address: string;
    let key: string;
    let files: Map<string, string>;
    const server = { id: 12_000_001, name: "rack" } as Server;
    const onMachine = (script: string) => hosts.inServer(server.id, "/bin/sh", "-c", script);
    const nft = (...args: string[]) => hosts.inNetworkOf(server.id, ["nft", ...args]);
    const ssh = (user: string, command = "id -un") => sshAs(user, command, { project, address, own });
    const dryRun = async () => (await project.bailiwick(["machine", "adopt", "rack", "--dry-run"])).text;
    const deploy = () => project.cdktf(["deploy", "rack", "--auto-approve"]);
    const flat = (text: string) => text.replace(/[\s│]+/g, " ");
    /** Units of sshd that run and that a boot starts, and the programs that hold its port: a socket's is pid 1's too. */
    const UNITS = "systemctl is-active ssh.socket ssh.service; systemctl is-enabled ssh.socket ssh.service; true";
    const holders = () => {
      const listening = hosts.inNetworkOf(server.id, ["ss", "-Hltnp", "sport = :22"]);
      return [...new Set([...listening.matchAll(/\("([\w-]+)",pid/g)].map(([, program]) => program))].sort();
    };
    let units: string;
    const notHeld = async () => {
      const ran = await project.bailiwick(["verify", "rack", "--json"]);
      const report = JSON.parse(ran.stdout) as {
        held: number;
        probes: { id: string; verdict: string; found: string }[];
      };
      expect(report.held).toBeGreaterThan(50);
      return report.probes.filter(({ verdict }) => verdict !== "held");
    };

    beforeAll(async () => {
      hosts = new Hosts(await ensureImage({ os, packages: BASELINE_PACKAGES, progress: console.log }));
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
      for (let i = 0; i < 120 && !onMachine("ls /run/cloud-init").includes("result.json"); i++) await sleep(500);
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

    it("is refused as another system than it is", async () => {
      expect(await dryRun()).toContain(`it runs ${os}; debian-13 is taken`);
      project.write(rackApp({ address, key, hostKey: own.publicKey, os }));
      await project.build("rack");
    });

    it("is told what would change, and is not changed by that", async () => {
      files = filesOf(onMachine);
      const told = await dryRun();
      expect(told).toContain("added: /etc/systemd/system/bailiwick-firewall.service");
      expect(told).toContain('make account "ada" with uid 1000');
      expect(changed(files, filesOf(onMachine))).toEqual([]);
      units = ok(await ssh("deploy", UNITS)).stdout;
      expect(units).toBe(socket ? "active\nactive\nenabled\ndisabled\n" : "inactive\nactive\ndisabled\nenabled\n");
      expect(holders()).toEqual(socket ? ["sshd", "systemd"] : ["sshd"]);
    });

    it("is as it was, and its user is let in, if the first admin is not", async () => {
      ok(await ssh("deploy", "echo DenyUsers ada | sudo tee /etc/ssh/sshd_config.d/00-site.conf"));
      const before = filesOf(onMachine);
      const ran = await deploy();
      expect(ran.code).not.toBe(0);
      expect(flat(ran.text)).toContain("the first admin is not let in, so all of it was taken away again");
      expect(changed(before, filesOf(onMachine)).filter((path) => !STAYS.test(path))).toEqual([]);
      expect(nft("list", "tables")).toBe("");
      expect(ok(await ssh("deploy", UNITS)).stdout).toBe(units);
      expect((await ssh("ada")).code).not.toBe(0);
      ok(await ssh("deploy", "sudo rm /etc/ssh/sshd_config.d/00-site.conf"));
    });

    it("is taken by one deploy, its sshd started as it was before", async () => {
      ok(await deploy());
      expect(ok(await project.bailiwick(["ssh", "rack", UNITS])).stdout).toBe(units);
      expect(hosts.hostKeys(address)).not.toEqual([own.publicKey]);
      expect((await ssh("deploy")).text).toContain("Host key verification failed");
    });

    it("answers", async () => {
      expect(ok(await project.bailiwick(["ask", "rack", "are you there?"])).stdout.trim()).not.toBe("");
    });

    it("holds everything that verify asks of it, but a kernel and a clock of its own", async () => {
      expect((await notHeld()).filter(({ id }) => !NOT_A_CONTAINERS.includes(id))).toEqual([]);
      expect(await hosts.says(address, 22, STRANGER)).toBe("silent");
    });

    it("is not changed when it is deployed, or taken, again", async () => {
      const before = filesOf(onMachine);
      expect(flat(ok(await deploy()).text)).toMatch(/No changes|0 added, 0 changed/);
      expect(await dryRun()).toContain("nothing would change");
      expect(ok(await project.bailiwick(["machine", "adopt", "rack"])).text).toContain("nothing changed");
      expect(changed(before, filesOf(onMachine)).filter((path) => path !== "/etc/bailiwick/baseline.json")).toEqual([]);
    });

    it("comes up from a reboot by itself as it was, with its agent", async () => {
      const [before] = hosts.hostKeys(address);
      await hosts.reboot(server);
      expect(hosts.hostKeys(address)).toEqual([before]);
      expect(await hosts.says(address, 22, STRANGER)).toBe("silent");
      expect(ok(await project.bailiwick(["ssh", "rack", UNITS])).stdout).toBe(units);
      expect(holders()).toEqual(socket ? ["sshd", "systemd"] : ["sshd"]);
      expect(ok(await project.bailiwick(["ask", "rack", "are you there?"])).stdout.trim()).not.toBe("");
      expect((await notHeld()).filter(({ id }) => !NOT_A_CONTAINERS.includes(id))).toEqual([]);
      expect(await dryRun()).toContain("nothing would change");
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
      await root(`cp -p /root/kept ${file}
rm /root/kept`);
    });

    it("puts its firewall back when others flush it, in no time that anybody could use", async () => {
      const before = nft("-s", "list", "ruleset");
      expect(before).not.toContain("owner");
      nft("flush", "ruleset");
      for (let i = 0; i < 100 && nft("-s", "list", "ruleset") !== before; i++) await sleep(20);
      expect(nft("-s", "list", "ruleset")).toBe(before);
      expect(await hosts.says(address, 22, STRANGER)).toBe("silent");
      expect(onMachine("journalctl -u bailiwick-firewall -o cat --no-pager")).toContain("changed by others; put back");
      expect((await notHeld()).filter(({ id }) => !NOT_A_CONTAINERS.includes(id))).toEqual([]);
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
      expect(ok(await ssh("deploy", UNITS)).stdout).toBe(units);
      expect(changed(files, filesOf(onMachine)).filter((path) => !STAYS.test(path))).toEqual([]);
    });
  });
}
