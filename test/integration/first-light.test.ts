import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { boxApp, CANARIES } from "./support/box.ts";
import { Internet, METADATA, PRIVATE, PUBLIC } from "./support/internet.ts";
import { ok, Project } from "./support/project.ts";
import { traces } from "./support/traces.ts";

// One real host from the first `cdktf deploy` to `cdktf destroy`, in an Internet of its own. The steps build on each other.

const NAMES = {
  "granted.example.com": PUBLIC,
  "other.example.com": PUBLIC,
  "models.example.com": PUBLIC,
  "api.anthropic.com": PUBLIC,
  "api.openai.com": PUBLIC,
};

/** What the agent was not granted: address, port, TLS server name. */
const ATTEMPTS: [string, string, ...string[]][] = [
  ["other.example.com", "443", "other.example.com"],
  [PUBLIC, "443", "other.example.com"],
  [PUBLIC, "443", "api.anthropic.com"],
  [PUBLIC, "443", "-"],
  [PUBLIC, "80"],
  [PRIVATE, "443", "granted.example.org"],
  [PRIVATE, "80"],
  [METADATA, "80"],
];

describe("first light", () => {
  let internet: Internet;
  let project: Project;
  let before: string[];
  const logs: string[] = [];

  const bailiwick = async (...args: string[]) => {
    const ran = await project.bailiwick(args);
    logs.push(ran.text);
    return ran;
  };
  const cdktf = async (...args: string[]) => {
    const ran = await project.cdktf(args);
    logs.push(ran.text);
    return ran;
  };
  /** What the agent says to an order. */
  const order = async (message: string) => {
    const { reply } = JSON.parse(ok(await bailiwick("ask", "box", message, "--json")).stdout) as { reply: string };
    return reply;
  };
  /** A command as root on the host. */
  const asRoot = async (command: string) =>
    ok(await bailiwick("ssh", "box", `sudo sh -c '${command.replaceAll("'", "'\\''")}'`)).stdout;
  const startTimes = () => asRoot("systemctl show -p MainPID --value 'bailiwick-*.service' | grep -v '^$'");

  beforeAll(async () => {
    before = traces();
    internet = await Internet.start(NAMES);
    project = new Project(boxApp(), { CANARY_ENV: CANARIES.env }, internet);
    writeFileSync(join(project.dir, "canary.txt"), `${CANARIES.file}\n`, { mode: 0o600 });
    writeFileSync(join(project.dir, "canary-2.txt"), `${CANARIES.command}\n`, { mode: 0o600 });
    await project.build("box");
  });

  afterAll(async () => {
    await project?.cdktf(["destroy", "box", "--auto-approve"]);
    internet?.close();
    project?.remove();
  });

  it("a push that lacks a secret names every missing one and fails the deploy; the machine stays for the next", async () => {
    rmSync(join(project.dir, "canary.txt"));
    const ran = await project.cdktf(["deploy", "box", "--auto-approve"], { CANARY_ENV: "" });
    logs.push(ran.text);
    expect(ran.code).not.toBe(0);
    const text = ran.text.replace(/[\s│]+/g, " ");
    expect(text).toMatch(
      /secrets\.canary: file \S+canary\.txt could not be read: ENOENT, and the host does not have it yet/,
    );
    expect(text).toContain(
      "secrets.canary-env: environment variable CANARY_ENV is empty, and the host does not have it yet",
    );
    writeFileSync(join(project.dir, "canary.txt"), `${CANARIES.file}\n`, { mode: 0o600 });
  });

  it("cdktf deploy brings up the host", async () => {
    ok(await cdktf("deploy", "box", "--auto-approve"));
    const status = JSON.parse(ok(await bailiwick("status", "box", "--json")).stdout);
    expect(status).toMatchObject({ host: "box", upToDate: true, lock: null, failedUnits: [] });
    expect(status.units.map((unit: { name: string; ready: boolean }) => [unit.name, unit.ready])).toEqual(
      expect.arrayContaining([
        ["bailiwick-egress.service", true],
        ["bailiwick-gateway.service", true],
        ["bailiwick-agent-puppet.service", true],
      ]),
    );
  });

  it("ask answers through the gateway, whose log shows the call and not its content", async () => {
    const answer = JSON.parse(ok(await bailiwick("ask", "box", "tell me: canary-prompt-1234", "--json")).stdout);
    expect(Object.keys(answer).sort()).toEqual(["model", "ms", "reply"]);
    expect(answer.reply).toContain("this is the demo model of bailiwick");
    expect(answer.reply).toContain("canary-prompt-1234");
    const log = ok(await bailiwick("logs", "box", "--unit", "gateway", "-n", "20")).stdout;
    expect(log).toMatch(/"agent":"puppet","keyId":"[0-9a-f]+","route":"demo"/);
    expect(log).not.toContain("canary-prompt-1234");
    expect(ok(await bailiwick("ask", "box", "are you puppet?", "--agent", "puppet")).stdout).toContain("demo model");
    const nobody = await bailiwick("ask", "box", "is anybody there?", "--agent", "nobody");
    expect(nobody.code).toBe(2);
    expect(nobody.stderr).toContain('received --agent "nobody"; host "box" has agents puppet');
    const unknown = await bailiwick("logs", "box", "--unit", "gatewya");
    expect(unknown.code).toBe(2);
    expect(unknown.stderr).toMatch(/received --unit "gatewya"; the host has agent-puppet, .*gateway/);
  });

  it("a model that is not granted is refused by the gateway", async () => {
    expect(await order("via http://127.0.0.1:4000/demo/v1/chat/completions another")).toMatch(/^HTTP 403 /);
    expect(await order("via http://127.0.0.1:4000/nowhere/v1/chat/completions demo")).toMatch(/^HTTP 40[34] /);
  });

  it("one granted name and one granted port of an address are reached by a real unit, and nothing else is", async () => {
    const reach = (...args: string[]) => order(`sh "$0" reach.mjs ${args.join(" ")}`);
    expect(await reach("granted.example.com", "443", "granted.example.com")).toContain("as granted.example.com");
    expect(await reach(PRIVATE, "22")).toContain(`served by ${PRIVATE}`);
    for (const [address, port, ...name] of ATTEMPTS)
      expect(await reach(address, port, ...name), `${address} ${port} ${name}`).toContain("refused: ");
  });

  it("the same calls work for a user whom no rule holds: the control", async () => {
    const reach = (...args: string[]) =>
      asRoot(
        `$(ls /opt/bailiwick/components/*/bin/node) $(ls /opt/bailiwick/components/*/reach.mjs) ${args.join(" ")}`,
      );
    for (const [address, port, ...name] of ATTEMPTS)
      expect(await reach(address, port, ...name), `${address} ${port} ${name}`).toContain("served by");
  });

  it("of the disk the agent has its workspaces as granted, and nothing of others", async () => {
    expect(await order("sh echo kept > /workspaces/desk/file && cat /workspaces/desk/file")).toBe("kept\nexit 0");
    expect(await order("sh touch /workspaces/library/file")).not.toContain("exit 0");
    expect(await order("sh ls /workspaces")).toBe("desk\nlibrary\nexit 0");
    expect(
      await order("sh cp /bin/true /workspaces/desk/t && chmod +x /workspaces/desk/t && /workspaces/desk/t"),
    ).toContain("Permission denied");
    for (const path of [
      "/etc/bailiwick/credentials",
      "/etc/shadow",
      "/var/lib/bailiwick/gateway",
      "/var/lib/systemd/credential.secret",
    ])
      expect(await order(`sh ls -R ${path}/ || cat ${path}`), path).not.toContain("exit 0");
  });

  it("with the gateway stopped, ask fails and says so", async () => {
    await asRoot("systemctl stop bailiwick-gateway");
    const ran = await bailiwick("ask", "box", "are you there?");
    expect(ran.code).toBe(1);
    expect(ran.stderr).toMatch(/bailiwick ask: agent "puppet" answered HTTP 502: the model could not be asked/);
    await asRoot("systemctl start bailiwick-gateway");
  });

  it("an unchanged push restarts nothing, an unchanged deploy runs no provisioner", async () => {
    const pids = await startTimes();
    const pushed = JSON.parse(ok(await bailiwick("push", "box", "--json")).stdout);
    expect(pushed).toMatchObject({ restarted: [], reloaded: [], stopped: [], uploaded: [], sealed: [], healthy: true });
    const deployed = ok(await cdktf("deploy", "box", "--auto-approve"));
    expect(deployed.text).not.toContain("local-exec");
    expect(await startTimes()).toBe(pids);
  });

  it("a changed agent restarts that agent alone", async () => {
    project.write(boxApp({ greeting: "good day" }));
    ok(await cdktf("deploy", "box", "--auto-approve"));
    const actions = await asRoot("journalctl --quiet --output=cat SYSLOG_IDENTIFIER=bailiwick _UID=0");
    const last = actions
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
      .findLast(({ action }) => action === "activated");
    expect(last).toMatchObject({ by: "admin", restart: ["bailiwick-agent-puppet.service"], reload: [], problems: [] });
  });

  it("a secret that is not at hand is not needed again", async () => {
    const pushed = await project.bailiwick(["push", "box", "--json"], { CANARY_ENV: "" });
    expect(JSON.parse(ok(pushed).stdout)).toMatchObject({ sealed: [], restarted: [] });
  });

  it("two pushes at once: one of them is told who holds the lock", async () => {
    const both = await Promise.all([bailiwick("push", "box"), bailiwick("push", "box")]);
    const codes = both.map((ran) => ran.code).sort();
    expect(codes[0]).toBe(0);
    if (codes[1] !== 0)
      expect(both.find((ran) => ran.code !== 0)?.stderr).toMatch(
        /the host is locked by admin since .* \(bailiwick push\)/,
      );
    else console.log("the two pushes did not overlap this time");
  });

  it("an operator with the repo, the state and a key needs nothing else of the first one", async () => {
    const second = mkdtempSync(join(tmpdir(), "bailiwick-second-"));
    try {
      for (const name of [
        "cdktf.json",
        "package.json",
        "node_modules",
        "main.ts",
        "canary.txt",
        "canary-2.txt",
        ...readdirSync(project.dir).filter((n) => n.endsWith(".tfstate")),
      ])
        cpSync(join(project.dir, name), join(second, name), { recursive: true, verbatimSymlinks: true });
      ok(await project.run(join(project.dir, "node_modules/.bin/cdktf"), ["synth"], {}, second));
      const ran = await project.bailiwick(["status", "box", "--json"], {}, second);
      expect(JSON.parse(ok(ran).stdout).release).toMatch(/^[0-9a-f]{64}$/);
    } finally {
      rmSync(second, { recursive: true });
    }
  });

  it("after a reboot everything comes up by itself, and who asks too early is answered all the same", async () => {
    ok(await bailiwick("local", "reboot", "box"));
    expect(await order("hello again")).toContain("demo model");
    expect((await bailiwick("status", "box")).code).toBe(0);
    expect(await order("sh cat /workspaces/desk/file")).toBe("kept\nexit 0");
  });

  it("verify holds, after a reboot too", async () => {
    const ran = await bailiwick("verify", "box", "--json");
    const report = JSON.parse(ran.stdout);
    expect(report.probes.filter((probe: { verdict: string }) => probe.verdict === "broken")).toEqual([]);
    expect(report.held).toBeGreaterThanOrEqual(15);
    expect(ran.code).toBe(0);
  });

  it("no planted secret is anywhere it could be read", async () => {
    const found: string[] = [];
    const search = (where: string, text: string | Buffer) => {
      for (const canary of Object.values(CANARIES)) {
        const forms = [
          canary,
          Buffer.from(canary).toString("base64").replace(/=+$/, ""),
          Buffer.from(canary).toString("hex"),
        ];
        if (forms.some((form) => text.includes(form))) found.push(`${canary} in ${where}`);
      }
    };
    // the operator's side: synthesised files, state and its backups, logs, the machine's seed and records
    const walk = (dir: string) => {
      for (const entry of readdirSync(dir, { withFileTypes: true })) {
        const path = join(dir, entry.name);
        if (entry.isDirectory()) walk(path);
        else if (entry.isFile() && !/^canary|\.img$/.test(entry.name)) search(path, readFileSync(path));
      }
    };
    walk(project.dir);
    for (const [i, text] of logs.entries()) search(`output of command ${i}`, text);
    ok(await cdktf("diff", "box"));
    search("the plan", logs.at(-1) ?? "");
    // the host: journal, arguments and environments of every process, what the agent itself can read, every file
    search("journal", await asRoot("journalctl --no-pager --output=export"));
    search("process arguments", await asRoot("cat /proc/[0-9]*/cmdline"));
    search("environments", await asRoot("cat /proc/[0-9]*/environ"));
    search(
      "the agent",
      await order(
        "sh env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline; find / -xdev -type f -size -1M -readable -not -path '/proc/*' -not -path '/sys/*' -not -path '/usr/*' -exec cat {} + 2>/dev/null | tail -c 1000000",
      ),
    );
    search(
      "user data on the host",
      await asRoot("find /var/lib/cloud /run/cloud-init -type f -exec cat {} + 2>/dev/null || true"),
    );
    // in clear on the disks: the images, read from outside with everything written
    await asRoot("sync");
    const disks = join(project.dir, "state/local");
    for (const slot of readdirSync(disks))
      for (const image of ["root.img", "data.img"])
        for (const canary of Object.values(CANARIES)) {
          const count = execFileSync("sh", [
            "-c",
            `grep -c -a -F -- "$1" "$2" || true`,
            "sh",
            canary,
            join(disks, slot, image),
          ]).toString();
          if (count.trim() !== "0") found.push(`${canary} in ${image}`);
        }
    expect(found).toEqual([]);
    // and the search does find what is there
    search("control", `xx${CANARIES.env}xx`);
    expect(found).toHaveLength(1);
  });

  it("cdktf destroy leaves nothing behind", async () => {
    ok(await cdktf("destroy", "box", "--auto-approve"));
    expect(readdirSync(join(project.dir, "state/local"))).toEqual([]);
    mkdirSync(join(project.dir, "state/local"), { recursive: true });
    internet.close();
    expect(traces()).toEqual(before);
  });
});
