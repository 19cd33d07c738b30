import { describe, expect, it } from "vitest";
import { renderFirewall } from "../../../runtime/policy/egress/firewall.ts";
import { hostPrincipals } from "../../../runtime/policy/egress/principals.ts";
import { compareRules, firewallProbes } from "../../../runtime/verify/probes/firewall.ts";
import { exited, judgeOf, printed, sampleSubject } from "../policy/judged.ts";

const subject = sampleSubject();
const { spec } = subject;
const files = renderFirewall(spec, hostPrincipals(spec), ["198.51.100.53"]);
const asListed = files.replace(/^table inet bailiwick \{/m, "table inet bailiwick { # progname firewall");

describe("rules in the kernel, compared with the release's", () => {
  it("are the same but for their owner, their handles and white space", () => {
    const listed = asListed
      .replace(/^(\s*type filter .*)$/m, "\t$1 # handle 7")
      .replace("{\n", "{\n\tflags owner,persist\n");
    expect(listed).not.toBe(files);
    expect(compareRules(listed, files)).toMatchObject({ verdict: "held" });
  });

  it("are broken by one rule more, naming it", () => {
    expect(compareRules(`${files}\nmeta skuid 20101 accept\n`, files)).toEqual({
      verdict: "broken",
      found: "too much: meta skuid 20101 accept",
    });
  });

  it("are broken by one rule less, naming it", () => {
    const [rule = ""] = /^.*\breject\b.*$/m.exec(files) ?? [];
    const less = files.replaceAll(rule, "");
    expect(compareRules(less, files)).toEqual({ verdict: "broken", found: `missing: ${rule.trim()}` });
  });

  it("are broken by another order, and by a rule that stands there twice", () => {
    const lines = files.split("\n");
    const at = lines.findIndex(
      (line, i) => i > 5 && line.trim() !== "" && (lines[i + 1] ?? "").trim() !== "" && line !== lines[i + 1],
    );
    const swapped = [...lines.slice(0, at), lines[at + 1], lines[at], ...lines.slice(at + 2)].join("\n");
    expect(compareRules(swapped, files)).toEqual({ verdict: "broken", found: "the order of the rules differs" });
    const rule = lines.find((line) => line.includes("reject")) ?? "";
    expect(compareRules(files.replace(rule, `${rule}\n${rule}`), files).verdict).toBe("broken");
  });

  it("prove nothing when the files hold no rules, even if the kernel holds none either", () => {
    expect(compareRules("", "")).toMatchObject({ verdict: "unprovable", reason: "the release's files hold no rules" });
  });

  it("prove nothing when the files cannot be loaded, and are broken when the kernel has no table", () => {
    const judge = judgeOf(firewallProbes(subject), "root/firewall-rules");
    expect(judge({ kernel: printed(files), files: printed(files) }).verdict).toBe("held");
    expect(judge({ kernel: printed(files), files: exited(1) }).verdict).toBe("unprovable");
    expect(judge({ kernel: exited(1), files: printed(files) }).verdict).toBe("broken");
  });
});

describe("the firewall's tables", () => {
  const judge = judgeOf(firewallProbes(subject), "root/firewall-tables");
  const table = (name: string, comment = " # progname firewall", flags = "owner,persist") =>
    `table ${name} {${comment}\n\tflags ${flags}\n`;
  const both = `${table("inet bailiwick_base")}--\n${table("inet bailiwick")}`;
  const runs = printed("ActiveState=active\nStatusText=holds 2 tables\n");

  it("hold when both are owned and persistent and their holder runs", () => {
    expect(judge({ list: printed(both), holder: runs })).toEqual({
      verdict: "held",
      found: "both owned and persistent",
    });
  });

  it.each([
    ["one is missing", table("inet bailiwick"), runs, "table inet bailiwick_base is missing"],
    ["another stands beside them", `${both}--\n${table("ip nat")}`, runs, "table ip nat is not the kit's"],
    [
      "the owner of one is gone",
      both.replace("inet bailiwick { # progname firewall", "inet bailiwick {"),
      runs,
      "table inet bailiwick has no owner",
    ],
    [
      "one goes with its owner",
      `${table("inet bailiwick_base")}--\n${table("inet bailiwick", " # progname firewall", "owner")}`,
      runs,
      "table inet bailiwick would not stay without its owner",
    ],
    ["the holder has ended", both, printed("ActiveState=inactive\nStatusText=\n"), "the holder does not run"],
    ["the last reload failed", both, printed("ActiveState=active\nStatusText=failed: line 3\n"), "failed: line 3"],
  ])("are broken when %s", (_what, list, holder, found) => {
    expect(judge({ list: printed(list), holder })).toEqual({ verdict: "broken", found });
  });

  it("hold on an older system when their holder watches them, and are broken when it does not or lacks one", () => {
    const older = { ...subject, spec: { ...spec, os: "debian-12" as const } };
    const ofOlder = judgeOf(firewallProbes(older), "root/firewall-tables");
    const bare = (name: string) => `table ${name} {\n\tchain input {\n`;
    const list = printed(`${bare("inet bailiwick_base")}--\n${bare("inet bailiwick")}`);
    const says = (status: string) => printed(`ActiveState=active\nStatusText=${status}\n`);
    const watches = says("ok, watched: closed.nft");
    expect(ofOlder({ list, holder: watches })).toEqual({ verdict: "held", found: "both there and watched" });
    expect(ofOlder({ list, holder: says("ok: closed.nft") })).toMatchObject({ found: "the holder does not watch" });
    expect(ofOlder({ list: printed(bare("inet bailiwick")), holder: watches }).verdict).toBe("broken");
    // on a system that can own them the same is broken
    expect(judge({ list, holder: watches }).verdict).toBe("broken");
  });

  it("are broken when nothing is listed at all", () => {
    expect(judge({ list: exited(1), holder: exited(1) }).verdict).toBe("broken");
  });
});
