import { describe, expect, it } from "vitest";
import { exitCode } from "../../../runtime/cli/commands/verify.ts";

const report = (held: number, broken: number, unprovable: number) => ({
  host: "sample",
  release: "a".repeat(64),
  probes: [],
  held,
  broken,
  unprovable,
  left: 0,
});

describe("the exit code of verify", () => {
  it("is 0 only when every boundary is proven to hold", () => {
    expect(exitCode(report(80, 0, 0), false)).toBe(0);
    expect(exitCode(report(79, 1, 0), false)).toBe(1);
  });

  it("is 1 when something could not be proven, unless the caller allows that", () => {
    expect(exitCode(report(79, 0, 1), false)).toBe(1);
    expect(exitCode(report(79, 0, 1), true)).toBe(0);
  });

  it("is 1 when something is broken, whatever the caller allows", () => {
    expect(exitCode(report(78, 1, 1), true)).toBe(1);
    expect(exitCode(report(79, 1, 0), true)).toBe(1);
  });
});
