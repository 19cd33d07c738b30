import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { nodeBinary, nodeComponent, nodeInputs } from "../../../runtime/bundle/node.ts";
import { scratch } from "./scratch.ts";

describe.skipIf(process.platform !== "linux" || process.arch !== "x64")("the bundled Node.js", () => {
  it.each([
    ["x64", 62],
    ["arm64", 183],
  ] as const)("is %s's for a host of that architecture", { timeout: 120_000 }, async (cpu, machine) => {
    const { archive, digest } = await nodeComponent({ cpu });
    const folder = scratch();
    execFileSync("tar", ["-x", "--zstd", "-f", archive.path, "-C", folder]);
    const head = readFileSync(join(folder, "bin/node")).subarray(0, 20);
    expect(head.subarray(1, 4).toString()).toBe("ELF");
    expect(head.readUInt16LE(18)).toBe(machine);
    expect(digest).toMatch(/^[0-9a-f]{64}$/);
  });

  it("is another for another architecture, and on this machine always its own", async () => {
    expect(await nodeInputs("arm64")).not.toBe(await nodeInputs("x64"));
    expect(execFileSync(await nodeBinary(), ["-p", "process.arch"], { encoding: "utf8" }).trim()).toBe("x64");
  });
});
