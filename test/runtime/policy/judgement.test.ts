import { describe, expect, it } from "vitest";
import {
  broken,
  held,
  mustBeRefused,
  mustFail,
  mustNotLeave,
  refusedAtOnce,
  together,
  unless,
  unprovable,
} from "../../../runtime/policy/judgement.ts";
import { done, failed } from "./judged.ts";

describe("judgements together", () => {
  it("are broken if one is, unprovable if one is and none broken, and held only if all are", () => {
    const [good, bad, open] = [held("fine"), broken("open door"), unprovable("dark", "no light")];
    expect(together([good, open, bad])).toEqual(bad);
    expect(together([good, open])).toEqual(open);
    expect(together([good, good])).toEqual(good);
  });

  it("of nothing are not held", () => {
    expect(together([]).verdict).toBe("unprovable");
  });

  it("name five problems and count the rest", () => {
    const problems = ["a", "b", "c", "d", "e", "f", "g"];
    expect(unless(problems, "none")).toEqual(broken("a; b; c; d; e; and 2 more"));
    expect(unless([], "none")).toEqual(held("none"));
  });
});

describe("a refusal", () => {
  it("is the firewall's only if it came at once", () => {
    expect(refusedAtOnce(failed("ECONNREFUSED"))).toBe(true);
    expect(refusedAtOnce(failed("EHOSTUNREACH", null, 1050))).toBe(true);
    expect(refusedAtOnce(failed("EHOSTUNREACH", null, 3000))).toBe(false);
    expect(refusedAtOnce(failed("ETIMEDOUT"))).toBe(false);
    expect(refusedAtOnce(done())).toBe(false);
  });
});

describe("a packet that must not leave", () => {
  const verdict = (mine: Parameters<typeof mustNotLeave>[1], root: typeof mine) =>
    mustNotLeave("tcp x:80", mine, root).verdict;

  it("is held back when it is refused at once and root's is not", () => {
    expect(verdict(failed("EPERM"), failed("ETIMEDOUT", null, 3000))).toBe("held");
    expect(verdict(failed("ECONNREFUSED"), done())).toBe("held");
  });

  it("has left when it arrives, or when nobody answers", () => {
    expect(verdict(done(), done())).toBe("broken");
    expect(verdict(failed("ETIMEDOUT", null, 3000), failed("ETIMEDOUT", null, 3000))).toBe("broken");
    expect(verdict(failed("EHOSTUNREACH", null, 3000), done())).toBe("broken");
  });

  it("has left when it arrives, even where root found no way", () => {
    expect(verdict(done(), failed("ENETUNREACH"))).toBe("broken");
  });

  it("proves nothing when root is refused as well, or when the attempt itself failed", () => {
    expect(verdict(failed("ECONNREFUSED"), failed("ECONNREFUSED"))).toBe("unprovable");
    expect(mustNotLeave("tcp x:80", failed("BROKEN_ATTEMPT", "KeyError: 'x'"), done())).toEqual(
      unprovable("tcp x:80: the attempt itself failed: KeyError: 'x'", "the attempt failed"),
    );
  });

  it("cannot leave a host that has no way there", () => {
    expect(verdict(failed("ETIMEDOUT", null, 3000), failed("ENETUNREACH"))).toBe("held");
  });
});

describe("a port that must be refused", () => {
  it("proves something only where something listens", () => {
    expect(mustBeRefused("port 1", failed("ECONNREFUSED"), true).verdict).toBe("held");
    expect(mustBeRefused("port 1", failed("ECONNREFUSED"), false)).toMatchObject({
      verdict: "unprovable",
      reason: "nothing listens at port 1 now",
    });
    expect(mustBeRefused("port 1", done(), true).verdict).toBe("broken");
    expect(mustBeRefused("port 1", failed("ETIMEDOUT", null, 3000), true).verdict).toBe("broken");
  });
});

describe("something that must fail", () => {
  it("may fail for any reason but that it was not tried", () => {
    expect(mustFail("mount", failed("ENOSYS")).verdict).toBe("held");
    expect(mustFail("mount", done()).verdict).toBe("broken");
    expect(mustFail("mount", failed("BROKEN_ATTEMPT", "x")).verdict).toBe("unprovable");
  });
});
