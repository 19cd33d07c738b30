import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EGRESS } from "./attempts/egress.ts";
import { FILES } from "./attempts/files.ts";
import { JOURNAL } from "./attempts/journal.ts";
import { KERNEL } from "./attempts/kernel.ts";
import { NEIGHBOURS } from "./attempts/neighbours.ts";
import { PERSISTENCE } from "./attempts/persistence.ts";
import { SECRETS } from "./attempts/secrets.ts";
import { SHELL } from "./attempts/shell.ts";
import { TOOLS } from "./attempts/tools.ts";
import { Bed, type Outcomes } from "./bed.ts";

// An agent that was taken over, on one real host beside another: each attempt is made by the agent itself in its own unit, and
// shown to succeed for somebody whom that protection does not hold. What an agent can use up of a machine, and what root of a
// container is refused too, is tried in ../virtual-machine.test.ts.

const GROUPS = {
  egress: EGRESS,
  neighbours: NEIGHBOURS,
  kernel: KERNEL,
  persistence: PERSISTENCE,
  journal: JOURNAL,
  files: FILES,
  secrets: SECRETS,
  tools: TOOLS,
};
/** What a command of the agent's shell tries: what the agent may not have the shell do, and what nobody may. */
const BY_SHELL = { shell: SHELL, neighbours: NEIGHBOURS, kernel: KERNEL, files: FILES };

let bed: Bed;
let tried: Outcomes;
let triedByShell: Outcomes;
let controls: Outcomes;

beforeAll(async () => {
  bed = await Bed.start({ ...GROUPS, ...BY_SHELL });
  const groups: Outcomes[] = [];
  for (const group of Object.keys(GROUPS)) groups.push(await bed.asAgent(group));
  tried = Object.assign({}, ...groups);
  const byShell: Outcomes[] = [];
  for (const group of Object.keys(BY_SHELL)) byShell.push(await bed.asShell(group));
  triedByShell = Object.assign({}, ...byShell);
  controls = await bed.controls();
});
afterAll(() => bed?.close());

describe.each(Object.entries(GROUPS))("%s: an agent that was taken over cannot", (_, attempts) => {
  it.each(attempts)("$name, stopped by $stoppedBy", ({ name, meets }) => {
    expect(controls[name], "the control, without the protection").toEqual({ ok: true, met: "success" });
    expect(tried[name]?.ok, "the attempt").toBe(false);
    expect(tried[name]?.met, "what stopped it").toMatch(meets);
  });
});

describe.each(Object.entries(BY_SHELL))("%s: a command of an agent's shell cannot", (_, attempts) => {
  it.each(attempts)("$name, stopped by $stoppedBy", ({ name, meets }) => {
    expect(controls[name], "the control, without the protection").toEqual({ ok: true, met: "success" });
    expect(triedByShell[name]?.ok, "the attempt").toBe(false);
    expect(triedByShell[name]?.met, "what stopped it").toMatch(meets);
  });
});

describe("a shell", () => {
  const count = async (what: string) => Number(await bed.asRoot(`pgrep -cfx '${what}' || true`));

  it("runs commands as another user than its agent, in the agent's workspaces themselves", async () => {
    expect(await bed.order("puppet", "sh id -un; echo by-agent >/workspaces/desk/siege-shared")).toMatch(
      /^bw-agent-puppet/,
    );
    const { output } = await bed.inShell("id -un; pwd; cat siege-shared; echo by-shell >siege-shared; ls /workspaces");
    expect(output).toBe("bw-shell-puppet\n/workspaces/desk\nby-agent\ndesk\nlibrary\n");
    expect(await bed.order("puppet", "sh cat /workspaces/desk/siege-shared")).toContain("by-shell");
  });

  it("reaches the name that was granted to it, which its agent does not", async () => {
    const fetch = 'print(tls(E["public4"], "shell.example.com"))';
    const own = `python3 -I -c 'import socket, ssl; c = ssl._create_unverified_context(); s = c.wrap_socket(socket.create_connection(("shell.example.com", 443), 5), server_hostname="shell.example.com"); s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n"); print(s.recv(1000).decode())'`;
    expect(await bed.inShell(own)).toMatchObject({ exitStatus: 0, output: expect.stringContaining("200") });
    expect((await bed.attempt(fetch)).ok, "the agent itself").toBe(false);
  });

  it("leaves nothing running, however it was started; its agent's own programs run on", async () => {
    const away = (seconds: number) =>
      `setsid sh -c 'trap "" TERM HUP; exec sleep ${seconds}' >/dev/null 2>&1 </dev/null & sleep 0.3`;
    await bed.order("puppet", `sh ${away(98_765)}`);
    expect(await count("sleep 98765"), "the control: the agent's").toBe(1);
    await bed.inShell(away(87_654));
    expect(await count("sleep 87654")).toBe(0);
  });

  it("has a line in the guard's log for each command, with its exit status and without its content", async () => {
    await bed.inShell("echo siege-canary; exit 42");
    const lines = (await bed.asRoot("journalctl --sync; journalctl -qu bailiwick-guard -o cat --no-pager")).split("\n");
    const told = lines.filter((line) => line.includes('"server":"shell/puppet"')).map((line) => JSON.parse(line));
    expect(told.filter(({ exitStatus }) => exitStatus === 42)).toMatchObject([
      { principal: "agent/puppet", tool: "run", decision: "allowed", rule: "grant:shell/puppet/run", outcome: "ok" },
    ]);
    expect(lines.join("\n")).not.toContain("siege-canary");
  });
});

describe("the log", () => {
  const shown = (unit: string) => bed.asRoot(`journalctl --sync; journalctl -qu bailiwick-${unit} -o cat --no-pager`);

  it.each([
    ["other.example.com", "unlisted"],
    ["neighbours.example.com", "unlisted"],
    ["api.anthropic.com", "unlisted"],
    ["c2VjcmV0.granted.example.com".toLowerCase(), "unlisted"],
    ["wild.example.com", "unlisted"],
    ["b.a.wild.example.com", "unlisted"],
    ["aa%0A.wild.example.com", "unlisted"],
    ["a.wild.example.com.", "unlisted"],
    ["inner.wild.example.com", "private-address"],
    ["-", "unlisted"],
    ["inner.example.com", "private-address"],
    ["metadata.example.com", "private-address"],
  ])("has a line of the attempt on server name %s: %s", async (name, verdict) => {
    const lines = (await shown("egress"))
      .split("\n")
      .filter((line) => line.includes(` principal=agent/puppet sni=${name} `));
    expect(lines.map((line) => / verdict=(\S+)/.exec(line)?.[1])).toContain(verdict);
  });

  it.each(["not-granted", "no-grant", "token", "arguments-schema", "arguments-grant", "approval"])(
    "has a line of a refused call, by rule %s",
    async (rule) => {
      const rules = (await shown("guard")).split("\n").flatMap((line) => {
        const told = line.startsWith("{") ? (JSON.parse(line) as { decision?: string; rule?: string }) : {};
        return told.decision === "refused" && told.rule !== undefined ? [told.rule] : [];
      });
      expect(
        rules.some((one) => one.startsWith(rule)),
        [...new Set(rules)].join(", "),
      ).toBe(true);
    },
  );

  it("has no line of the egress proxy that a server name forged", async () => {
    const lines = (await shown("egress")).split("\n");
    expect(lines.filter((line) => line.startsWith("egress principal=gateway sni=a "))).toEqual([]);
    expect(lines.filter((line) => line.includes("%0Aegress%20principal%3Dgateway"))).toHaveLength(1);
  });

  it("has what an agent prints under that agent's unit alone, whatever it looks like", async () => {
    await bed.order("puppet", "log 1 egress principal=neighbour sni=siege-forged dst=192.0.2.1 verdict=allowed");
    const ofAll = await bed.asRoot("journalctl --sync; journalctl -q -o cat --no-pager | grep -c sni=siege-forged");
    expect(Number(ofAll), "the control: who reads by the message is deceived").toBe(1);
    expect(await shown("egress")).not.toContain("siege-forged");
    expect(await shown("agent-puppet")).toContain("siege-forged");
  });

  it("is not flooded: of an agent that writes without end a part is kept, and all of the others", async () => {
    const count = async (text: string) =>
      Number(await bed.asRoot(`journalctl --sync; journalctl -q -o cat --no-pager | grep -cx ${text} || true`));
    await bed.asRoot(
      "systemd-run --quiet --wait --unit=siege-flood -p LogRateLimitIntervalSec=0 sh -c 'yes siege-control | head -n 20000'",
    );
    expect(await count("siege-control"), "the control: a unit without a limit").toBeGreaterThan(19_900);
    await bed.order("puppet", "log 20000 siege-flood");
    await bed.order("neighbour", "log 1 siege-beside");
    const kept = await count("siege-flood");
    expect(kept).toBeGreaterThan(0);
    expect(kept).toBeLessThan(10_000);
    expect(await count("siege-beside")).toBe(1);
  });
});

describe("a wildcard", () => {
  it("is reached as it was granted, by the agent's own resolver, in any case", async () => {
    for (const name of ["a.wild.example.com", "A.WILD.Example.Com"])
      expect(await bed.attempt(`served(tls(socket.gethostbyname("${name}"), "${name}"), E["public4"])`), name).toEqual({
        ok: true,
        met: "success",
      });
  });
});

describe("a tool's server", () => {
  it("sees a workspace that it was granted, which its caller does not, and no other", async () => {
    const look = (path: string) => bed.attempt(`Mcp("filesystem", token()).tool("get_file_info", {"path": "${path}"})`);
    expect(await look("/workspaces/archive/siege-old")).toEqual({ ok: true, met: "success" });
    expect((await bed.attempt('read("/workspaces/archive/siege-old")')).met).toContain("ENOENT");
    expect((await look("/workspaces/vault/siege-secret")).ok).toBe(false);
    expect((await look("/workspaces/library/siege-book")).ok).toBe(false);
  });
});

describe("an approval", () => {
  const write = (content: string) =>
    `Mcp("filesystem", token()).tool("write_file", {"path": "/tmp/approved", "content": ${JSON.stringify(content)}})`;

  it("is of no use for other arguments than those that were shown, nor a second time", async () => {
    const asked = await bed.attempt(write("as it was shown"));
    const id = /as ([0-9a-f]{8});/.exec(asked.met)?.[1];
    expect(id, asked.met).toBeDefined();
    expect((await bed.bailiwick("approve", "siege", id ?? "")).code).toBe(0);
    const altered = await bed.attempt(write("altered"));
    expect(altered.ok).toBe(false);
    expect(altered.met).toContain("approval");
    expect(await bed.attempt(write("as it was shown")), "the control: the very call").toEqual({
      ok: true,
      met: "success",
    });
    const replayed = await bed.attempt(write("as it was shown"));
    expect(replayed.ok).toBe(false);
    expect(replayed.met).toContain("approval");
  });
});
