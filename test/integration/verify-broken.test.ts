import { resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Report } from "../../runtime/verify/verify.ts";
import { BREAKABLE_APP, BREAKAGES, NOT_BROKEN_HERE, STAND_INS } from "./support/breakages.ts";
import { ok, Project } from "./support/project.ts";

// One real host, broken in one way after the other: each probe must be seen to fail, and to hold again afterwards.

const daemon = resolve(import.meta.dirname, "../../examples/command-agent/daemon");
const missing = process.getuid?.() === 0 ? undefined : "a machine needs root";
if (missing !== undefined) console.log(`not run: verify on broken hosts: ${missing}`);

describe.skipIf(missing !== undefined)("bailiwick verify on a deliberately broken host", () => {
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
    project = new Project(BREAKABLE_APP.replaceAll("DAEMON", daemon));
    ok(await project.cdktf(["deploy", "breakable", "--auto-approve"]));
    await asRoot(STAND_INS);
    whole = await verify();
  });
  afterAll(async () => {
    ok(await project.cdktf(["destroy", "breakable", "--auto-approve"]));
    project.remove();
  });

  it("holds on the whole host, but for the name that no resolver knows", () => {
    expect(broken(whole)).toEqual([]);
    expect(whole.probes.filter(({ verdict }) => verdict === "unprovable").map(({ id }) => id)).toEqual([
      "agent/ann/name/news.example.com",
    ]);
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
      expect(broken(report)).toEqual(expect.arrayContaining([...breaks]));
    } finally {
      await asRoot(undo);
    }
  });

  it("holds again once all is undone", async () => {
    expect(broken(await verify())).toEqual([]);
  });
});
