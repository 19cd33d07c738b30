import { describe, expect, it } from "vitest";
import { workspaceProbes } from "../../../runtime/policy/workspaces/probes.ts";
import { done, exited, failed, judgeOf, printed, probeOf, sampleSubject } from "./judged.ts";

const probes = workspaceProbes(sampleSubject());
const judge = (id: string) => judgeOf(probes, id);
const noEntry = failed("ENOENT");
const readOnly = failed("EROFS");

describe("a workspace granted to write", () => {
  const tried = judge("agent/ops/workspace/repo");

  it("is read and written, and runs no program", () => {
    expect(tried({ read: done([]), write: done(), execute: failed("EACCES") })).toEqual({
      verdict: "held",
      found: "written; program from it: EACCES",
    });
  });

  it("is broken when it cannot be read or written, or when a program runs from it", () => {
    expect(tried({ read: noEntry, write: done(), execute: noEntry }).found).toBe("it cannot be read: ENOENT");
    expect(tried({ read: done([]), write: readOnly, execute: noEntry })).toEqual({
      verdict: "broken",
      found: "it cannot be written: EROFS",
    });
    expect(tried({ read: done([]), write: done(), execute: done() }).verdict).toBe("broken");
  });

  it("proves nothing when running a program was not tried", () => {
    const execute = failed("BROKEN_ATTEMPT", "FileNotFoundError: true");
    expect(tried({ read: done([]), write: done(), execute }).verdict).toBe("unprovable");
  });
});

describe("a workspace granted to read", () => {
  const tried = judge("agent/ops/workspace/docs");

  it("is read and not written", () => {
    expect(tried({ read: done([]), write: readOnly, execute: null }).verdict).toBe("held");
  });

  it("is broken when it can be written, or not be read", () => {
    expect(tried({ read: done([]), write: done(), execute: null })).toEqual({
      verdict: "broken",
      found: "written: allowed",
    });
    expect(tried({ read: noEntry, write: readOnly, execute: null }).verdict).toBe("broken");
  });
});

describe("workspaces without a grant", () => {
  it("are those of others, and the folder of all of them", () => {
    expect(probeOf(probes, "agent/web-hook/other-workspaces").expected).toBe("repo not in sight");
    expect(probeOf(probes, "agent/ops/other-workspaces").expected).toBe("no other workspace in sight");
  });

  it("are out of sight until one can be read", () => {
    const tried = judge("agent/web-hook/other-workspaces");
    const [mine, hosts] = ["/workspaces/repo", "/var/lib/bailiwick/workspaces/repo"];
    expect(
      tried([
        { path: mine, outcome: noEntry },
        { path: hosts, outcome: failed("EACCES") },
      ]).verdict,
    ).toBe("held");
    expect(
      tried([
        { path: mine, outcome: noEntry },
        { path: hosts, outcome: done([]) },
      ]),
    ).toEqual({ verdict: "broken", found: `${hosts}: allowed` });
  });
});

describe("access lists of workspaces", () => {
  const tried = judge("root/workspace-acls");
  // as getfacl prints them; the owning group's bits are the mask's
  const acl = (...entries: string[]) =>
    printed(`user::rwx\n${entries.join("\n")}\ngroup::rwx\nmask::rwx\nother::---\ndefault:user::rwx\n\n`);
  const docs = acl("user:bw-agent-ops:r-x", "user:bw-agent-web-hook:rwx");
  const repo = acl("user:bw-agent-ops:rwx");

  it("are as granted, in any order", () => {
    expect(tried([docs, repo])).toEqual({
      verdict: "held",
      found: "/var/lib/bailiwick/workspaces/docs as granted; /var/lib/bailiwick/workspaces/repo as granted",
    });
    expect(tried([acl("user:bw-agent-web-hook:rwx", "user:bw-agent-ops:r-x"), repo]).verdict).toBe("held");
  });

  it("count as granted what a mask holds back: whether it can be used is the agent's own probe", () => {
    expect(tried([docs, acl("user:bw-agent-ops:rwx\t#effective:r-x")]).verdict).toBe("held");
  });

  it.each([
    ["a stranger", acl("user:bw-agent-ops:rwx", "user:mallory:r-x"), "user:mallory:r-x"],
    ["more than is granted", acl("user:bw-agent-web-hook:rwx", "user:bw-agent-ops:rwx"), "user:bw-agent-web-hook:rwx"],
    ["a group", acl("user:bw-agent-ops:rwx", "group:users:r--"), "group:users:r--"],
    ["everybody", printed("user::rwx\nuser:bw-agent-ops:rwx\ngroup::rwx\nother::r-x\n"), "other::r-x"],
    ["nobody", acl(), "user:bw-agent-ops:rwx missing"],
  ])("are broken when a workspace is open to %s", (_who, listed, wrong) => {
    expect(tried([docs, listed])).toEqual({
      verdict: "broken",
      found: `/var/lib/bailiwick/workspaces/repo: ${wrong}`,
    });
  });

  it("are broken when a workspace is not there", () => {
    expect(tried([docs, failed("EXIT")]).verdict).toBe("broken");
  });
});

describe("quotas", () => {
  const withQuotas = sampleSubject((spec) => {
    spec.workspaces = { repo: { quotaMiB: 32 }, docs: {} };
  });
  const [quota] = withQuotas.manifest.quotas ?? [];
  const project = quota?.project ?? 0;
  const judgeQuotas = judgeOf(workspaceProbes(withQuotas), "root/workspace-quotas");
  const mount = (options: string) =>
    `40 1 8:1 / /var/lib/bailiwick rw,nosuid,nodev,noatime shared:9 - xfs /dev/sdb rw,${options}`;
  const facts = (change: object = {}) => ({
    mounts: done(`${mount("attr2,prjquota")}\n`),
    kernel: done(),
    report: printed(`#0 8 0 0 00 [--------]\n#${project} 1024 0 32768 00 [--------]\n`),
    projects: [printed(`projid = ${project}\n---------------P- /var/lib/bailiwick/workspaces/repo \n`)],
    ...change,
  });

  it("are the spec's, by a project of the workspace's own", () => {
    expect(quota).toEqual({ path: "/var/lib/bailiwick/workspaces/repo", project: expect.any(Number), mib: 32 });
    expect(project).toBeGreaterThan(0);
    expect(sampleSubject().manifest).not.toHaveProperty("quotas");
    expect(workspaceProbes(sampleSubject()).map(({ id }) => id)).not.toContain("root/workspace-quotas");
    expect(judgeQuotas(facts())).toEqual({ verdict: "held", found: "as in the spec" });
  });

  it("prove nothing on a kernel that has none, and say why", () => {
    expect(judgeQuotas(facts({ mounts: done(mount("attr2,noquota")), kernel: noEntry, report: exited(1) }))).toEqual({
      verdict: "unprovable",
      found: "none is in force",
      reason: "this kernel has no project quotas of XFS: workspaces are bounded by the data volume alone",
    });
  });

  it.each<[string, object, string]>([
    ["the limit is another", { report: printed(`#${project} 0 0 65536 00 [--------]\n`) }, "may hold 64 MiB"],
    ["there is no limit", { report: printed("#0 8 0 0 00 [--------]\n") }, "may hold any number of MiB"],
    ["the limit was lifted", { report: printed(`#${project} 1024 0 0 00 [--------]\n`) }, "may hold any number of MiB"],
    ["the volume is mounted without them", { mounts: done(mount("attr2,noquota")) }, "push again"],
    ["they are counted, and nobody is held to them", { mounts: done(mount("attr2,pqnoenforce")) }, "push again"],
    ["it belongs to no project", { projects: [printed("projid = 0\n---------------P- /x \n")] }, "is not counted"],
    [
      "what is made in it belongs to none",
      { projects: [printed(`projid = ${project}\n----------------- /x \n`)] },
      "is not counted",
    ],
    ["they cannot be read", { report: exited(1) }, "the quotas cannot be read"],
  ])("are broken if %s", (_, change, found) => {
    expect(judgeQuotas(facts(change))).toMatchObject({ verdict: "broken", found: expect.stringContaining(found) });
  });
});
