import { describe, expect, it } from "vitest";
import { chooseRelease } from "../../../runtime/release/rollback.ts";

const release = (digit: string, confirmedAt: string | null = "2026-01-01T00:00:00Z") => ({
  ...{ release: digit.repeat(64), spec: "0".repeat(64), kit: "1", components: {} },
  ...{ confirmedAt, by: "ada", why: "bailiwick push" },
});
const list = (...releases: ReturnType<typeof release>[]) => ({ current: releases[0]?.release ?? null, releases });

describe("the release that a rollback goes to", () => {
  it("is the one confirmed before the current one, past any that never was", () => {
    const { release: chosen } = chooseRelease(list(release("a"), release("b", null), release("c")), undefined);
    expect(chosen).toBe("c".repeat(64));
  });

  it("is the one whose digest begins as was said, confirmed or not", () => {
    expect(chooseRelease(list(release("a"), release("b", null)), "bb").release).toBe("b".repeat(64));
  });

  it.each([
    ["there is none before", list(release("a")), undefined, /no earlier release on this host/],
    ["it is the current one", list(release("a"), release("b")), "aaa", /received "aaa", which is the current release/],
    [
      "nothing begins so",
      list(release("a"), release("b")),
      "cd",
      /received release "cd"; besides the current one the host has bbbbbbbbbbbb/,
    ],
    ["the word is empty", list(release("a"), release("b")), "", /received release ""/],
  ])("is refused when %s", (_, found, wanted, message) => {
    expect(() => chooseRelease(found, wanted)).toThrow(message);
  });

  it("is refused when two begin so", () => {
    const twin = { ...release("b"), release: `b${"c".repeat(63)}` };
    expect(() => chooseRelease(list(release("a"), release("b"), twin), "b")).toThrow(/begins 2 releases; write more/);
  });
});
