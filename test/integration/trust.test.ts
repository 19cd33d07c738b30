import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import ssh2 from "ssh2";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cacheDirectory } from "../../runtime/local/directories.ts";
import { ALGORITHMS } from "../../runtime/ssh/connect.ts";
import { type ManInTheMiddle, startManInTheMiddle } from "../runtime/ssh/man-in-the-middle.ts";
import { ok, Project } from "./support/project.ts";

// Trust without first use on a real host, by the real commands: whoever stands in the middle is sent nothing, at first and
// at later contact; and what interrupts or repeats a deploy never leads to a host that is trusted for a spent key.

const DAEMON = resolve(import.meta.dirname, "../../examples/command-agent/daemon");
const missing = process.getuid?.() === 0 ? undefined : "a machine needs root";
if (missing !== undefined) console.log(`not run: trust on a real host: ${missing}`);

const app = (adminKey: string, { rebuild = 0 } = {}) => `
import { App, TerraformStack } from "cdktf";
import { Access, AgentHost, LocalMachine, Runtime } from "KIT";

const app = new App();
const stack = new TerraformStack(app, "watched");
new AgentHost(stack, "watched", {
  machine: new LocalMachine(stack, "machine", { engine: "nspawn", rootGiB: 4, dataGiB: 1, rebuild: ${rebuild} }),
  access: Access.ssh({ admins: { ada: ${JSON.stringify(adminKey)} }, from: ["127.0.0.0/8"] }),
}).addAgent("clock", { runtime: Runtime.command({ source: ${JSON.stringify(DAEMON)}, argv: ["node", "./main.mjs"], health: "/healthz" }) });
app.synth();
`;

describe.skipIf(missing !== undefined)("trust without first use", () => {
  let project: Project;
  let keys: string;
  let adminKey: string;
  let withKey: Record<string, string>;

  const key = (name: string) => join(keys, name);
  const recordFile = () => {
    const slots = join(project.dir, "state/local");
    const [slot = ""] = readdirSync(slots);
    return join(slots, slot, "machine.json");
  };
  const record = () => JSON.parse(readFileSync(recordFile(), "utf8")) as { port: number };
  const fingerprint = (file: string) => execFileSync("ssh-keygen", ["-lf", file]).toString().split(" ")[1] ?? "";
  /** What sshd itself would tell anybody before a login. */
  const bannerOf = (port: number) =>
    new Promise<string>((heard, fail) => {
      const client = new ssh2.Client();
      client.on("banner", heard).on("error", (error) => fail(error));
      const authHandler = ["none"] as never;
      client.connect({ host: "127.0.0.1", port, username: "nobody", algorithms: ALGORITHMS, authHandler });
    });
  /** Runs `body` while whoever is in the middle holds the port that leads to the machine. */
  const inTheMiddle = async (middle: ManInTheMiddle, body: () => Promise<void>) => {
    const true_ = readFileSync(recordFile(), "utf8");
    writeFileSync(recordFile(), JSON.stringify({ ...JSON.parse(true_), port: middle.port }));
    try {
      await body();
    } finally {
      writeFileSync(recordFile(), true_);
      await middle.stop();
    }
  };
  const flat = (text: string) => text.replace(/[\s│]+/g, " ");
  const deploy = (env = withKey) => project.cdktf(["deploy", "watched", "--auto-approve"], env);
  const release = async () =>
    JSON.parse(ok(await project.bailiwick(["status", "watched", "--json"], withKey)).stdout) as {
      release: string | null;
      fingerprint: string;
      instance: string;
    };

  beforeAll(async () => {
    keys = mkdtempSync(join(tmpdir(), "bailiwick-keys-"));
    for (const name of ["ada", "mallory"])
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key(name)]);
    adminKey = readFileSync(key("ada.pub"), "utf8").trim();
    withKey = { BAILIWICK_SSH_KEY: key("ada") };
    // no key of the operator is found, but images and components are
    project = new Project(app(adminKey), { HOME: keys, BAILIWICK_CACHE: cacheDirectory() });
    await project.build("watched");
  });
  afterAll(async () => {
    await project?.cdktf(["destroy", "watched", "--auto-approve"], withKey);
    project?.remove();
    if (keys !== undefined) rmSync(keys, { recursive: true });
  });

  it("a deploy whose push never reaches the host fails, and leaves the machine with its one-time key", async () => {
    const ran = await deploy({});
    expect(ran.code).not.toBe(0);
    expect(flat(ran.text)).toContain('none of your ssh keys belongs to an admin of host "watched" (ada)');
    expect(record().port).toBeGreaterThan(0);
  });

  it("at first contact, a machine in the middle is told nothing: exit 3, and the message says what to compare", async () => {
    const middle = await startManInTheMiddle({ hostKey: key("mallory") });
    await inTheMiddle(middle, async () => {
      const ran = await project.bailiwick(["push", "watched"], withKey);
      expect(ran.code).toBe(3);
      expect(ran.text).toContain(fingerprint(key("mallory.pub")));
      expect(flat(ran.text)).toMatch(/expected: .*SHA256:/);
      expect(ran.text).toContain("no credential was offered");
    });
    expect(middle.attempts.map(({ method }) => method)).not.toContain("publickey");
    expect(middle.commands).toEqual([]);
  });

  it("the next synth has another key pair and still reaches the machine by the one it was made with", async () => {
    ok(await deploy());
    expect((await release()).release).toMatch(/^[0-9a-f]{64}$/);
  });

  it("at later contact, a machine in the middle that replays the host's own attestation is told nothing", async () => {
    const banner = await bannerOf(record().port);
    expect(banner).toContain("-----BEGIN SSH SIGNATURE-----");
    const middle = await startManInTheMiddle({ hostKey: key("mallory"), banner });
    await inTheMiddle(middle, async () => {
      for (const verb of [["push"], ["status"], ["ask", "hello"], ["verify"]]) {
        const [command = "", ...words] = verb;
        const ran = await project.bailiwick([command, "watched", ...words], withKey);
        expect(ran.code, command).toBe(3);
        expect(ran.text, command).toContain(fingerprint(key("mallory.pub")));
      }
    });
    expect(middle.attempts.map(({ method }) => method)).not.toContain("publickey");
    expect(middle.commands).toEqual([]);
  });

  it("the same machine in the middle does get the credential's use from a client that trusts whom it meets", async () => {
    const middle = await startManInTheMiddle({ hostKey: key("mallory") });
    const options = ["-F", "none", "-i", key("ada"), "-p", String(middle.port), "-o", "BatchMode=yes"];
    // the control: OpenSSH told to take any key on first use, which nothing of the kit does
    const args = [...options, "-o", `StrictHostKeyChecking=${"accept"}-new`, "-o", `UserKnownHostsFile=${key("tofu")}`];
    await project.run("ssh", [...args, "ada@127.0.0.1", "secret-command"]);
    expect(middle.attempts.map(({ method }) => method)).toContain("publickey");
    expect(middle.commands).toEqual(["secret-command"]);
    await middle.stop();
  });

  it("a second operator directory, with the repo, the state and the key, trusts the host by its attestation", async () => {
    const second = mkdtempSync(join(tmpdir(), "bailiwick-second-"));
    try {
      const names = ["cdktf.json", "package.json", "main.ts", "node_modules"];
      for (const name of [...names, ...readdirSync(project.dir).filter((n) => n.endsWith(".tfstate"))])
        cpSync(join(project.dir, name), join(second, name), { recursive: true, verbatimSymlinks: true });
      ok(await project.run(join(second, "node_modules/.bin/cdktf"), ["synth"], withKey, second));
      const ran = ok(await project.bailiwick(["status", "watched", "--json"], withKey, second));
      expect(JSON.parse(ran.stdout)).toMatchObject({ fingerprint: (await release()).fingerprint });
    } finally {
      rmSync(second, { recursive: true });
    }
  });

  it("a tainted machine comes back under its spent key, is refused, and a rebuild is asked for and helps", async () => {
    const stackDir = join(project.dir, "cdktf.out/stacks/watched");
    const before = await release();
    const list = ok(await project.run("terraform", [`-chdir=${stackDir}`, "state", "list"])).stdout.split("\n");
    const boot = list.find((name) => /_boot_/.test(name)) ?? "";
    ok(await project.run("terraform", [`-chdir=${stackDir}`, "taint", boot]));
    const ran = await deploy();
    expect(ran.code).not.toBe(0);
    expect(flat(ran.text)).toContain("the key is spent and proves nothing; nothing was sent");
    expect(flat(ran.text)).toContain("raise `rebuild` of the machine");
    const push = await project.bailiwick(["push", "watched"], withKey);
    expect(push.code).toBe(3);

    project.write(app(adminKey, { rebuild: 1 }));
    ok(await deploy());
    const after = await release();
    expect(after.release).toBe(before.release);
    expect(after.instance).not.toBe(before.instance);
    expect(after.fingerprint).not.toBe(before.fingerprint);
  });

  it("destroyed and created again it has a new one-time key and is trusted anew", async () => {
    const before = await release();
    ok(await project.cdktf(["destroy", "watched", "--auto-approve"], withKey));
    ok(await deploy());
    expect((await release()).fingerprint).not.toBe(before.fingerprint);
  });
});
