import { describe, expect, it } from "vitest";
import type { Attempt, Probe, ProbedHost } from "../../../runtime/policy/probe.ts";
import { sandboxProbes } from "../../../runtime/verify/probes/sandbox.ts";
import { done, failed, judgeOf, probeOf, sampleSubject } from "../policy/judged.ts";

const probes = sandboxProbes(sampleSubject());
const judge = (what: string) => judgeOf(probes, `agent/ops/${what}`);

/** What a probe tries as its principal. */
async function attemptsOf(id: string, of: readonly Probe[] = probes): Promise<Attempt[]> {
  const attempts: Attempt[] = [];
  const host: ProbedHost = {
    as: async (_principal, attempt) => {
      attempts.push(attempt);
      return failed("EACCES");
    },
    root: async () => failed("EACCES"),
    reach: async () => ({ outcome: failed("EACCES"), listens: true }),
    egressLog: async () => [],
    resolvers: [],
    listening: [],
  };
  await probeOf(of, id).read(host);
  return attempts;
}

describe("what every sandbox refuses", () => {
  it.each(["read-only", "execution", "sockets", "root"])("%s: all of it, or it is broken", (what) => {
    const tried = judge(what);
    expect(tried([failed("EROFS"), failed("EACCES")]).verdict).toBe("held");
    expect(tried([failed("EROFS"), done()]).verdict).toBe("broken");
    expect(tried([failed("EROFS"), failed("BROKEN_ATTEMPT", "x")]).verdict).toBe("unprovable");
    expect(tried([]).verdict).toBe("unprovable");
  });

  it("is named when it was allowed", async () => {
    const attempts = await attemptsOf("agent/ops/read-only");
    const at = attempts.findIndex((attempt) => attempt.do === "append" && attempt.path === "/etc/passwd");
    const outcomes = attempts.map((_, i) => (i === at ? done() : failed("EROFS")));
    expect(judge("read-only")(outcomes)).toEqual({ verdict: "broken", found: "/etc/passwd: allowed" });
  });
});

describe("an agent", () => {
  it("tries to write its own configuration and its own component", async () => {
    const tried = JSON.stringify(await attemptsOf("agent/ops/read-only"));
    expect(tried).toContain("/etc/bailiwick/agent/openclaw.json");
    expect(tried).toMatch(/"create","directory":"\/opt\/bailiwick\/components\/[0-9a-f]{64}"/);
    expect(JSON.stringify(await attemptsOf("agent/web-hook/read-only"))).not.toContain("openclaw.json");
  });

  it("tries to run a program from each of its own folders, of nested ones from the outermost", async () => {
    // without a workspace granted to write, OpenClaw's own lies within another folder of the agent
    const alone = sampleSubject((spec) => {
      spec.grants.mount = [];
    });
    const folders = (await attemptsOf("agent/ops/execution", sandboxProbes(alone))).map((attempt) =>
      attempt.do === "run-copy" ? attempt.directory : "",
    );
    expect(folders).toContain("/var/lib/bailiwick/agents/ops/state");
    expect(folders.some((folder) => folders.some((other) => folder.startsWith(`${other}/`)))).toBe(false);
    expect(folders.filter((folder) => folder.includes("web-hook"))).toEqual([]);
  });

  it("tries the egress proxy's admin socket, which is that one's alone", async () => {
    expect(JSON.stringify(await attemptsOf("agent/ops/root"))).toContain("admin.sock");
    expect(JSON.stringify(await attemptsOf("egress/root"))).not.toContain("admin.sock");
  });
});

describe("kernel calls", () => {
  const tried = judge("system-calls");

  it("are refused, also those that the kernel lacks", () => {
    expect(tried([failed("EPERM"), failed("ENOSYS")]).verdict).toBe("held");
  });

  it("have come through when the kernel itself answers", () => {
    expect(tried([failed("EPERM"), done("EINVAL")])).toEqual({ verdict: "broken", found: "ptrace: allowed" });
    expect(tried([failed("EINVAL"), failed("EPERM")]).verdict).toBe("broken");
    expect(tried([failed("KILLED"), failed("EPERM")]).verdict).toBe("broken");
  });

  it("prove nothing on a processor whose call numbers are not known", () => {
    expect(tried([failed("UNKNOWN_MACHINE", "riscv64")])).toMatchObject({ verdict: "unprovable", found: "riscv64" });
  });
});

describe("others' processes and devices", () => {
  it("are out of sight until one is seen, and prove nothing when nobody could look", () => {
    expect(judge("processes")(done([])).verdict).toBe("held");
    expect(judge("processes")(done([1, 77]))).toEqual({ verdict: "broken", found: "it sees 2 processes of others" });
    expect(judge("processes")(failed("EACCES")).verdict).toBe("unprovable");
    expect(judge("devices")(done([])).verdict).toBe("held");
    expect(judge("devices")(done(["/dev/sda"]))).toEqual({ verdict: "broken", found: "/dev/sda" });
    expect(judge("devices")(failed("EACCES")).verdict).toBe("unprovable");
  });
});

describe("where principals could meet", () => {
  const judged = (outcome: ReturnType<typeof done>, byRoot = done()) =>
    judge("shared")({ tried: [{ what: "an abstract socket", outcome, byRoot }] });

  it("is held only if root, who made it, reaches it and the principal does not", () => {
    expect(judged(failed("EPERM")).verdict).toBe("held");
    expect(judged(done())).toEqual({ verdict: "broken", found: "an abstract socket: allowed" });
    expect(judged(failed("EPERM"), failed("ECONNREFUSED")).verdict).toBe("unprovable");
  });

  it("is tried in memory and by socket; of the two who speak by unix sockets themselves, in memory alone", async () => {
    expect((await attemptsOf("agent/ops/shared")).map(({ do: what }) => what)).toEqual(["exists", "unix"]);
    expect((await attemptsOf("egress/shared")).map(({ do: what }) => what)).toEqual(["exists"]);
  });
});
