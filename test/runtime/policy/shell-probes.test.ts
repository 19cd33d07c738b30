import { describe, expect, it } from "vitest";
import { limitProbes, shownLimits } from "../../../runtime/policy/limits/probes.ts";
import { allLimits } from "../../../runtime/policy/limits/schema.ts";
import { shellProbes } from "../../../runtime/policy/shell/probes.ts";
import { renderRelease } from "../../../runtime/release/render/release.ts";
import { hostProbes } from "../../../runtime/verify/probes.ts";
import { sampleInput } from "../release/render/sample.ts";
import { sampleWithShell } from "../release/render/sample-shell.ts";
import { done, exited, failed, judgeOf, printed, sampleSubject } from "./judged.ts";

const subject = (spec = sampleWithShell()) => ({ spec, manifest: renderRelease(sampleInput(spec)).manifest });
const probes = shellProbes(subject());

it("a host without a shell has none of them", () => {
  expect(shellProbes(sampleSubject())).toEqual([]);
});

describe("the probes of a host with a shell", () => {
  const view = { hostKey: "", attested: true } as never;
  const ids = (spec = sampleWithShell()) =>
    hostProbes(subject(spec), view)
      .map(({ id }) => id)
      .filter((id) => id.startsWith("shell/") || id.endsWith("/tools/shell"));

  it("try the shell as every other principal, and what sets it apart from its agent", () => {
    expect(ids()).toEqual([
      "agent/ops/tools/shell",
      "shell/ops/agent",
      "shell/ops/credentials",
      "shell/ops/devices",
      "shell/ops/execution",
      "shell/ops/exposure",
      "shell/ops/limits",
      "shell/ops/live/docs",
      "shell/ops/live/repo",
      "shell/ops/network",
      "shell/ops/other-workspaces",
      "shell/ops/processes",
      "shell/ops/read-only",
      "shell/ops/root",
      "shell/ops/secrets",
      "shell/ops/shared",
      "shell/ops/sockets",
      "shell/ops/system-calls",
      "shell/ops/tool-sockets",
      "shell/ops/workspace/docs",
      "shell/ops/workspace/repo",
    ]);
  });

  it("try its network as it is granted", () => {
    const found = ids(sampleWithShell((spec) => spec.grants.egress.push({ principal: "shell/ops", name: "git.test" })));
    expect(found).not.toContain("shell/ops/network");
    expect(found).toEqual(
      expect.arrayContaining(["shell/ops/name/git.test", "shell/ops/ungranted-names", "shell/ops/metadata"]),
    );
  });
});

describe("what it sees of its agent", () => {
  const judge = judgeOf(probes, "shell/ops/agent");
  const places = (count: number, outcome = failed("ENOENT"), there = true) =>
    Array.from({ length: count }, (_, i) => ({ path: `/p${i}`, outcome, there }));
  it("is nothing", () => {
    expect(judge(places(3)).verdict).toBe("held");
    expect(judge([...places(2), { path: "/state", outcome: done(), there: true }])).toEqual({
      verdict: "broken",
      found: "/state: allowed",
    });
    expect(judge(places(3, failed("ENOENT"), false)).verdict).toBe("unprovable");
    expect(judge([...places(1), { path: "/x", outcome: failed("BROKEN_ATTEMPT"), there: true }]).verdict).toBe(
      "unprovable",
    );
  });
});

describe("a workspace that it sees", () => {
  const judge = judgeOf(probes, "shell/ops/live/repo");
  const seen = (shell: string, agent: string) => ({ shell: printed(`${shell}\n`), agent: printed(`${agent}\n`) });
  it("is the agent's own and no copy", () => {
    expect(judge(seen("43:131", "43:131"))).toEqual({ verdict: "held", found: "43:131" });
    expect(judge(seen("43:131", "43:999"))).toEqual({
      verdict: "broken",
      found: "the shell sees 43:131, the agent 43:999",
    });
    expect(judge({ shell: exited(1), agent: printed("43:131\n") }).verdict).toBe("broken");
    expect(judge({ shell: printed("43:131\n"), agent: exited(1) }).verdict).toBe("unprovable");
  });
});

describe("its limits", () => {
  const judge = judgeOf(limitProbes(subject()), "shell/ops/limits");
  const block = (id: string, change: object = {}) =>
    Object.entries({ Id: id, ...shownLimits(allLimits(undefined)), ...change })
      .filter(([name]) => !id.endsWith(".slice") || name !== "LogRateLimitBurst")
      .map(([name, value]) => `${name}=${value}`)
      .join("\n");
  const shown = (ofSlice: object = {}, ofSession: object = {}) =>
    printed(
      `${block("bailiwick-shell-ops@verify.service", ofSession)}\n\n${block("bailiwick-shell-ops.slice", ofSlice)}\n`,
    );
  it("are those of a session, and of all sessions", () => {
    expect(judge(shown()).verdict).toBe("held");
    expect(judge(shown({ TasksMax: "infinity" }))).toEqual({
      verdict: "broken",
      found: "TasksMax of bailiwick-shell-ops.slice is infinity, not 512",
    });
    expect(judge(shown({}, { LogRateLimitBurst: "0" })).verdict).toBe("broken");
    expect(judge(printed(block("bailiwick-shell-ops.slice"))).verdict).toBe("broken");
  });
});
