import { describe, expect, it } from "vitest";
import { errorKind, exitCodeOf, UsageError } from "../../../runtime/cli/errors.ts";
import { BaselineError } from "../../../runtime/release/baseline-wait.ts";
import { SpentKeyError } from "../../../runtime/release/host-trust.ts";
import { parseHostSpec } from "../../../runtime/spec/host-spec.ts";
import { HostTrustError, UnreachableError } from "../../../runtime/ssh/errors.ts";
import { NoSuchProbeError } from "../../../runtime/verify/verify.ts";

const untrusted = new HostTrustError({
  address: "203.0.113.7:22",
  shown: null,
  shownFingerprint: null,
  expected: ["a pinned key"],
  attestation: null,
  offered: false,
});

function specError(): unknown {
  try {
    return parseHostSpec({});
  } catch (error) {
    return error;
  }
}

describe("an error", () => {
  it.each([
    ["wrong usage", new UsageError("x"), 2, "usage"],
    ["a wrong spec", specError(), 2, "spec"],
    ["a host that cannot be reached", new UnreachableError("x"), 3, "unreachable"],
    ["a host that is not trusted", untrusted, 3, "trust"],
    ["a one-time key that is spent", new SpentKeyError("ops", "i-1", "i-2"), 3, "trust"],
    ["a probe that no host has", new NoSuchProbeError("x"), 2, "usage"],
    ["first boot, naming the step", new BaselineError("packages", "x"), 1, "baseline:packages"],
    ["anything else", new Error("x"), 1, "failed"],
    ["something that is no error", "x", 1, "failed"],
  ])("of kind %s has its exit code and its word", (_what, error, code, kind) => {
    expect(exitCodeOf(error)).toBe(code);
    expect(errorKind(error)).toBe(kind);
  });
});
