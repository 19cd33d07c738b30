import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Bindings } from "../../runtime/spec/binding.ts";
import { providerMirror } from "../../scripts/provider-mirror.ts";
import { Archive, bareImage } from "./support/bare-image.ts";
import { HetznerApi } from "./support/hetzner/api.ts";
import { GATEWAY, Hosts, OPERATOR, STRANGER } from "./support/hetzner/hosts.ts";
import { ok, Project } from "./support/project.ts";

// stacks/hetzner.ts by the real cdktf, Terraform, provider and bailiwick. Behind the emulated API each server is a real
// host, booted from the user data that the API received and an image that has none of the baseline's packages: first boot
// fetches them from an archive inside these networks. See support/hetzner/hosts.ts for what stands for what.

const missing =
  process.getuid?.() !== 0
    ? "a machine needs root"
    : spawnSync("go", ["version"]).error !== undefined
      ? "go is not on the PATH"
      : undefined;
if (missing !== undefined) console.log(`not run: hosts on Hetzner Cloud: ${missing}`);

// The probes that a stand-in cannot hold: a server's kernel and clock are its own, here they are this machine's, so these
// must object; and a name on the internet is reached where this machine reaches it.
const NOT_A_CONTAINERS = ["root/clock", "root/kernel-settings"];
const INTERNET = "gateway/name/api.anthropic.com";

const CANARY = "canary-hetzner-4c8e12d7b0a95f36";

describe.skipIf(missing !== undefined)("stacks/hetzner.ts on servers that are hosts", () => {
  let hosts: Hosts;
  let api: HetznerApi;
  let project: Project;
  let archive: Archive;
  const none = { dropped: 0, admitted: 0 };
  const firstBoot = { operator: "", stranger: "", closed: none, open: none };
  /** What a port where nobody listens said, and what nft had, while the first file of the archive was waited for. */
  const beforeFetching = { fetched: -1, tables: "", port: "", withoutTable: "", ssh: "" };
  let answered = (): void => {};
  const seen = new Promise<void>((done) => {
    answered = done;
  });

  const probeBeforeFetching = async () => {
    await seen;
    const { id } = server();
    const address = api.world.addressOf(server()) ?? "";
    const nft = (args: string, input?: string) => hosts.inNetworkOf(id, ["nft", ...args.split(" ")], input);
    const everything = { direction: "in" as const, protocol: "tcp", port: "1-65535", source_ips: ["0.0.0.0/0"] };
    await hosts.setRules(server(), [everything]);
    beforeFetching.fetched = archive.fetched.length;
    beforeFetching.tables = nft("-s list ruleset");
    beforeFetching.port = await hosts.says(address, 8080, STRANGER);
    beforeFetching.ssh = await hosts.says(address, 22);
    // control: the same a moment later, without that table
    nft("delete table inet bailiwick_first");
    beforeFetching.withoutTable = await hosts.says(address, 8080, STRANGER);
    nft("-f -", beforeFetching.tables);
    await hosts.setRules(server(), api.world.rulesOf(server()));
  };

  const server = () => {
    const [one] = api.world.servers.values();
    if (one === undefined) throw new Error("there is no server");
    return one;
  };
  const ssh = async (command: string) => ok(await project.bailiwick(["ssh", "hetzner", command])).stdout.trim();
  const verify = async () => {
    const ran = await project.bailiwick(["verify", "hetzner", "--json"]);
    const report = JSON.parse(ran.stdout) as { held: number; probes: { id: string; verdict: string }[] };
    const broken = report.probes.filter(({ verdict }) => verdict === "broken").map(({ id }) => id);
    const expected = new Set([...NOT_A_CONTAINERS, INTERNET]);
    const rest = report.probes.filter(({ id, verdict }) => verdict !== "held" && !expected.has(id));
    return { held: report.held, broken, rest };
  };

  beforeAll(async () => {
    const image = await bareImage(`http://${GATEWAY}`);
    hosts = new Hosts(image);
    archive = new Archive(image.archive, probeBeforeFetching);
    hosts.serve(await archive.start());
    api = new HetznerApi(hosts);
    hosts.onFirstBoot = async (made, address) => {
      // first boot restarts sshd when it has hardened it
      for (let i = 0; i < 40 && !firstBoot.operator.startsWith("SSH-"); i++) {
        firstBoot.operator = await hosts.says(address);
        await sleep(250);
      }
      const before = hosts.counted();
      firstBoot.stranger = await hosts.says(address, 22, STRANGER);
      const { dropped, admitted } = hosts.counted();
      firstBoot.closed = { dropped: dropped - before.dropped, admitted: admitted - before.admitted };
      await hosts.setRules(made, [{ direction: "in", protocol: "tcp", port: "22", source_ips: ["0.0.0.0/0"] }]);
      // whether the host's own firewall is closed by then, as first boot goes on, is another matter
      await hosts.says(address, 22, STRANGER);
      firstBoot.open = hosts.counted();
      await hosts.setRules(made, api.world.rulesOf(made));
      answered();
    };
    const endpoint = await api.start();
    await hosts.expose(Number(new URL(endpoint).port));
    const env = {
      ...{ HCLOUD_ENDPOINT: endpoint, HCLOUD_TOKEN: api.token, TF_CLI_CONFIG_FILE: await providerMirror(console.log) },
      ...{ BAILIWICK_ADMIN_CIDR: `${OPERATOR}/32`, ANTHROPIC_API_KEY: CANARY },
    };
    project = new Project(`import ${JSON.stringify(resolve("stacks/main.ts"))};\n`, env, hosts);
    const key = join(project.dir, "id_ed25519");
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "ada", "-f", key]);
    project.env.BAILIWICK_ADMIN_KEY = readFileSync(`${key}.pub`, "utf8").trim();
    project.env.BAILIWICK_SSH_KEY = key;
    await project.build("hetzner");
    ok(await project.cdktf(["deploy", "hetzner", "--auto-approve", "--skip-provider-lock"]));
  });

  afterAll(async () => {
    await hosts?.close();
    await api?.stop();
    await archive?.stop();
    project?.remove();
  });

  it("was closed by the kernel itself before it fetched anything, nft included", () => {
    expect(beforeFetching).toMatchObject({ fetched: 0, port: "silent", ssh: expect.stringMatching(/^SSH-2\.0/) });
    expect(beforeFetching.tables).toMatch(/^table inet bailiwick_first \{/);
    // without that table the same port would have answered
    expect(beforeFetching.withoutTable).toBe("refused");
    const order = archive.fetched.filter((name) => name.endsWith(".deb")).map((name) => name.split("_")[0]);
    expect(order).toEqual(expect.arrayContaining(["nftables", "haproxy", "auditd", "sudo"]));
    expect(order.indexOf("nftables")).toBeLessThan(order.indexOf("haproxy"));
    // it is gone: verify objects to any table that is not the kit's, below
  });

  it("had its firewall from the first packet: the operator reached sshd, a stranger's packets ended at the firewall", () => {
    expect(firstBoot.operator).toMatch(/^SSH-2\.0/);
    expect(firstBoot.stranger).toBe("silent");
    expect(firstBoot.closed).toMatchObject({ dropped: expect.toSatisfy((n: number) => n > 0), admitted: 0 });
    // control: opened, it lets the same stranger through to the host
    expect(firstBoot.open).toMatchObject({ dropped: 0, admitted: expect.toSatisfy((n: number) => n > 0) });
  });

  it("holds everything that a local host holds, but a kernel and a clock of its own, which verify sees", async () => {
    const { held, broken, rest } = await verify();
    expect(rest).toEqual([]);
    expect(broken.sort()).toEqual(NOT_A_CONTAINERS);
    expect(held).toBeGreaterThan(50);
  });

  it("filters by itself too: with Hetzner's firewall open to the world the host still takes no stranger", async () => {
    const address = api.world.addressOf(server()) ?? "";
    await hosts.setRules(server(), [{ direction: "in", protocol: "tcp", port: "22", source_ips: ["0.0.0.0/0"] }]);
    expect(await hosts.says(address, 22, STRANGER)).toBe("silent");
    expect(await hosts.says(address, 22, OPERATOR)).toMatch(/^SSH-2\.0/);
    await hosts.setRules(server(), api.world.rulesOf(server()));
  });

  it("is seen from outside when it lets in what it should not", async () => {
    const files = "/usr/lib/bailiwick/base.nft $(readlink -f /opt/bailiwick/current)/etc/firewall.nft";
    const root = (script: string) =>
      ssh(`echo ${Buffer.from(`set -e\n${script}`).toString("base64")} | base64 -d | sudo sh`);
    const outside = async () => {
      const report = JSON.parse((await project.bailiwick(["verify", "hetzner", "--json"])).stdout) as {
        probes: { id: string; verdict: string; found: string }[];
      };
      const ports = report.probes.filter(({ id }) => id.startsWith("outside/ports-"));
      return Object.fromEntries(
        ports.map(({ id, verdict, found }) => [id.slice("outside/ports-".length), [verdict, found]]),
      );
    };
    const everyone = { direction: "in" as const, source_ips: ["0.0.0.0/0"] };
    await hosts.setRules(server(), [
      { ...everyone, protocol: "tcp", port: "1-65535" },
      { ...everyone, protocol: "udp", port: "1-65535" },
    ]);
    expect(await outside()).toMatchObject({
      "ipv4-tcp": ["held", expect.any(String)],
      "ipv4-udp": ["held", expect.any(String)],
    });
    await root(`
systemd-run --quiet --unit=stray python3 -m http.server 8080
for file in ${files}; do
  cp -p $file $file.kept
  sed -i 's/^    iif lo accept/&\\n    tcp dport 8080 accept\\n    udp dport 161 accept/' $file
  ! cmp -s $file $file.kept
done
systemctl restart bailiwick-firewall`);
    expect(await outside()).toMatchObject({
      "ipv4-tcp": ["broken", "8080 answers"],
      "ipv4-udp": ["broken", "161 is refused, not dropped"],
    });
    await root(`
systemctl stop stray
for file in ${files}; do mv $file.kept $file; done
systemctl restart bailiwick-firewall`);
    expect(await outside()).toMatchObject({
      "ipv4-tcp": ["held", expect.any(String)],
      "ipv4-udp": ["held", expect.any(String)],
    });
    await hosts.setRules(server(), api.world.rulesOf(server()));
  });

  it("keeps its data on the volume that the stack names, and its data alone over a rebuild", async () => {
    const before = server().id;
    const [volume] = api.world.volumes.values();
    expect(await ssh("findmnt -no SOURCE,FSTYPE,LABEL /var/lib/bailiwick")).toContain(`xfs`);
    expect(await ssh("grep ^What= /etc/systemd/system/var-lib-bailiwick.mount")).toBe(
      `What=/dev/disk/by-id/scsi-0HC_Volume_${volume?.id}`,
    );
    await ssh("echo kept | sudo tee /var/lib/bailiwick/workspaces/notes/mark /root/mark");
    ok(await project.bailiwick(["rebuild", "hetzner"]));
    expect(server().id).not.toBe(before);
    expect(hosts.detached).toEqual([{ server: before, mounted: false }]);
    expect([...api.world.volumes.keys()]).toEqual([volume?.id]);
    expect(await ssh("sudo cat /var/lib/bailiwick/workspaces/notes/mark; sudo ls /root/mark 2>&1 || true")).toMatch(
      /^kept\n.*No such file/,
    );
    expect((await verify()).rest).toEqual([]);
  });

  it("serves again by the next push where it was drained and then not taken away", async () => {
    const folder = join(project.dir, "cdktf.out/stacks/hetzner");
    const { bailiwick_hetzner } = JSON.parse(
      ok(await project.run("terraform", ["output", "-json"], {}, folder)).stdout,
    ) as Record<string, { value: { machine: object } }>;
    const drain = (bindings: object | undefined) =>
      project.bailiwick(
        [
          "machine",
          "drain",
          "hetzner",
          "--spec",
          join(folder, "bailiwick/hetzner.json"),
          "--from-terraform",
          "--generation",
          "x",
        ],
        { BAILIWICK_BINDINGS: JSON.stringify(bindings), BAILIWICK_GENERATION: "x" },
      );
    const serves = () =>
      ssh("systemctl is-active bailiwick-agent-main bailiwick-gateway; mountpoint /var/lib/bailiwick");
    const bindings = bailiwick_hetzner?.value;
    // where nobody answers it is only said: nobody is kept from destroying what is gone
    const elsewhere = { ...bindings?.machine, address: "198.51.100.250" };
    expect(ok(await drain({ ...bindings, machine: elsewhere })).stdout).toMatch(
      /taken off as by a power cut: .*did not speak SSH/,
    );
    expect(await serves()).toBe("active\nactive\n/var/lib/bailiwick is a mountpoint");
    expect(ok(await drain(bindings)).stdout).toContain("nothing runs, and its data volume is unmounted");
    expect(
      await ssh(
        "systemctl is-active bailiwick-agent-main bailiwick-gateway bailiwick-firewall; mountpoint /var/lib/bailiwick || true",
      ),
    ).toBe("inactive\ninactive\nactive\n/var/lib/bailiwick is not a mountpoint");
    ok(await project.bailiwick(["push", "hetzner"]));
    expect(await serves()).toBe("active\nactive\n/var/lib/bailiwick is a mountpoint");
  });

  it("is not touched by a change that would replace it while a secret is not at hand", async () => {
    const deploy = (env: Record<string, string> = {}) =>
      project.cdktf(["deploy", "hetzner", "--auto-approve", "--skip-provider-lock"], env);
    const before = server().id;
    const asked = api.calls.length;
    const stack = readFileSync("stacks/hetzner.ts", "utf8");
    project.write(
      `import { App } from "cdktf";\n${stack.replace(`"../constructs/index.ts"`, `"KIT"`).replace("cx33", "cx23")}
const app = new App();\nnew HetznerStack(app, "hetzner");\napp.synth();\n`,
    );
    const refused = await deploy({ ANTHROPIC_API_KEY: "" });
    expect(refused.code).not.toBe(0);
    expect(refused.text.replaceAll(/\s+/g, " ")).toContain(`the machine of "hetzner" is to be replaced`);
    expect(api.calls.slice(asked).filter(({ route }) => !route.startsWith("GET"))).toEqual([]);
    expect(await ssh("systemctl is-active bailiwick-agent-main bailiwick-gateway")).toBe("active\nactive");
    // control: with the secret the same change replaces it, and who holds on to the volume keeps it from being unmounted
    await ssh(`sudo systemd-run --quiet sh -c "cd /var/lib/bailiwick && exec sleep infinity"`);
    expect(ok(await deploy()).text.replaceAll(/\s+/g, " ")).toMatch(/taken off as by a power cut: .* still in use/);
    expect(server()).toMatchObject({ id: expect.toSatisfy((id: number) => id !== before), type: "cx23" });
    expect(hosts.detached.at(-1)).toEqual({ server: before, mounted: true });
  });

  it("has no secret in state, plan, specs, user data or any request", async () => {
    const found = spawnSync("grep", ["-rlF", "--exclude-dir=node_modules", CANARY, project.dir], { encoding: "utf8" });
    expect(found).toMatchObject({ status: 1, stdout: "" });
    expect(JSON.stringify(api.calls)).not.toContain(CANARY);
    const plan = await project.run(
      "terraform",
      ["plan", "-no-color"],
      {},
      join(project.dir, "cdktf.out/stacks/hetzner"),
    );
    expect(ok(plan).text).not.toMatch(new RegExp(`${CANARY}|BEGIN OPENSSH`));
  });

  it("proves itself by an attestation now, not by the key that state holds", async () => {
    const state = JSON.parse(
      ok(await project.run("terraform", ["output", "-json"], {}, join(project.dir, "cdktf.out/stacks/hetzner"))).stdout,
    );
    const { bootstrap, machine } = Bindings.parse(state.bailiwick_hetzner.value);
    const [shown] = hosts.hostKeys(machine.kind === "remote" ? machine.address : "");
    expect(shown).toMatch(/^ssh-ed25519 /);
    expect(shown).not.toBe(bootstrap.publicKey.split(" ").slice(0, 2).join(" "));
  });

  it("leaves nothing over when it is destroyed", async () => {
    ok(await project.cdktf(["destroy", "hetzner", "--auto-approve", "--skip-provider-lock"]));
    expect(api.world.counts()).toEqual({});
    expect(hosts.leftovers()).toEqual([]);
  });
});
