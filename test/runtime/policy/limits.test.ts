import { describe, expect, it } from "vitest";
import { limitProbes, shownLimits } from "../../../runtime/policy/limits/probes.ts";
import { allLimits } from "../../../runtime/policy/limits/schema.ts";
import { done, failed, judgeOf, sampleSubject } from "./judged.ts";

describe("limits of an agent", () => {
  const subject = sampleSubject((spec) => {
    const ops = spec.agents.ops;
    if (ops !== undefined) ops.limits = { memoryMiB: 512 };
  });
  const judge = judgeOf(limitProbes(subject), "agent/ops/limits");
  const shown = (change: Record<string, string> = {}) =>
    done({
      stdout: Object.entries({
        Id: "bailiwick-agent-ops.service",
        ...shownLimits(allLimits({ memoryMiB: 512 })),
        ...change,
      })
        .map(([name, value]) => `${name}=${value}`)
        .join("\n"),
    });

  it("hold if systemd has every one of them, and are broken by name if not", () => {
    expect(judge(shown()).verdict).toBe("held");
    expect(judge(shown({ MemoryMax: "infinity" }))).toEqual({
      verdict: "broken",
      found: "MemoryMax of bailiwick-agent-ops.service is infinity, not 536870912",
    });
    expect(judge(failed("EXIT")).verdict).toBe("unprovable");
  });

  it.each([
    [2, "2s"],
    [0.5, "500ms"],
    [1.5, "1s 500ms"],
    [90, "1min 30s"],
  ])("%s processors are, in systemd's words, %s", (cpus, words) => {
    expect(shownLimits(allLimits({ cpus })).CPUQuotaPerSecUSec).toBe(words);
  });
});
