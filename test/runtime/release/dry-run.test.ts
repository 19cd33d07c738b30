import { describe, expect, it } from "vitest";
import { compareFiles } from "../../../runtime/release/dry-run.ts";

const file = (path: string, content: string) => ({ path, content });

describe("what a push would change", () => {
  it("is nothing where the files are equal, whatever the manifest says", () => {
    expect(
      compareFiles([file("a", "1\n"), file("manifest.json", "1")], [file("a", "1\n"), file("manifest.json", "2")]),
    ).toEqual([]);
  });

  it("is told file by file, with the lines that go and come", () => {
    const before = [file("etc/firewall.nft", "one\ntwo\nthree\n"), file("units/gone.service", "x")];
    const after = [file("etc/firewall.nft", "one\ntwo and a half\nthree\n"), file("units/new.service", "y")];
    expect(compareFiles(before, after)).toEqual([
      { path: "etc/firewall.nft", change: "changed", removed: ["two"], added: ["two and a half"] },
      { path: "units/gone.service", change: "removed", removed: [], added: [] },
      { path: "units/new.service", change: "added", removed: [], added: [] },
    ]);
  });

  it("counts equal lines: one of two that goes is told once", () => {
    expect(compareFiles([file("a", "x\nx\ny")], [file("a", "x\ny")])).toEqual([
      { path: "a", change: "changed", removed: ["x"], added: [] },
    ]);
  });
});
