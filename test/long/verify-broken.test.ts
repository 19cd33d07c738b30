import { cpSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatMcpLock } from "../../runtime/spec/tool-definitions.ts";
import type { Report } from "../../runtime/verify/verify.ts";
import { BREAKABLE_APP, BREAKAGES, NOT_BROKEN_HERE } from "../integration/support/breakages.ts";
import { Internet, PUBLIC } from "../integration/support/internet.ts";
import { reviewed } from "../integration/support/mcp-lock.ts";
import { ok, Project } from "../integration/support/project.ts";

// One real host, broken in one way after the other: each probe must be seen to fail, and to hold again afterwards.

const daemon = resolve(import.meta.dirname, "../../examples/command-agent/daemon");
const missing = process.getuid?.() === 0 ? undefined : "a machine needs root";
if (missing !== undefined) console.log(`not run: verify on broken hosts: ${missing}`);

describe.skipIf(missing !== undefined)("bailiwick verify on a deliberately broken host", () => {
  let internet: Internet;
  let project: Project;
  let whole: Report;

  const asRoot = async (script: string) => {
    const encoded = Buffer.from(`set -e\n${script}`).toString("base64");
    ok(await project.bailiwick(["ssh", "breakable", `echo ${encoded} | base64 -d | sudo -n sh`]));
  };
  const verify = async (): Promise<Report> => {
    const ran = await project.bailiwick(["verify", "breakable", "--json"]);
    if (ran.stdout === "") throw new Error(ran.text);
    return JSON.parse(ran.stdout) as Report;
  };
  const broken = (report: Report) => report.probes.filter(({ verdict }) => verdict === "broken").map(({ id }) => id);

  beforeAll(async () => {
    // a boundary that is broken lets packets out: in there they reach nothing real
    internet = await Internet.start({ "news.example.com": PUBLIC, "other.example.com": PUBLIC });
    project = new Project(BREAKABLE_APP.replaceAll("DAEMON", daemon), { BW_TEAM_TOKEN: "canary-team" }, internet);
    cpSync(resolve(import.meta.dirname, "../integration/support/mcp"), join(project.dir, "mcp"), { recursive: true });
    const everything = await reviewed("@modelcontextprotocol/server-everything", ["stdio"]);
    writeFileSync(join(project.dir, "mcp.lock.json"), formatMcpLock({ version: 1, servers: { everything } }));
    await project.build("breakable");
    ok(await project.cdktf(["deploy", "breakable", "--auto-approve"]));
    whole = await verify();
  });
  afterAll(async () => {
    ok(await project.cdktf(["destroy", "breakable", "--auto-approve"]));
    project.remove();
    internet.close();
  });

  it("holds on the whole host, in every probe", () => {
    expect(whole.probes.filter(({ verdict }) => verdict !== "held")).toEqual([]);
  });

  it("has a breakage for every probe", () => {
    const covered = new Set([...BREAKAGES.flatMap(({ breaks }) => breaks), ...Object.keys(NOT_BROKEN_HERE)]);
    expect(whole.probes.map(({ id }) => id).filter((id) => !covered.has(id))).toEqual([]);
    expect([...covered].filter((id) => !whole.probes.some((probe) => probe.id === id))).toEqual([]);
  });

  it.each(BREAKAGES)("$name", async ({ breaks, how, undo }) => {
    await asRoot(how);
    try {
      const report = await verify();
      const found = broken(report);
      const blind = report.probes.filter(({ id }) => breaks.includes(id) && !found.includes(id));
      expect(blind).toEqual([]);
    } finally {
      await asRoot(undo);
    }
  });

  it("holds again once all is undone", async () => {
    expect(broken(await verify())).toEqual([]);
  });
});
