import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { hostSpecJsonSchema, hostSpecReference } from "../../../runtime/spec/reference.ts";

describe("docs/reference", () => {
  it("is what the schemas say (npm run docs writes it)", () => {
    expect(readFileSync("docs/reference/host-spec.schema.json", "utf8")).toBe(hostSpecJsonSchema());
    expect(readFileSync("docs/reference/host-spec.md", "utf8")).toBe(hostSpecReference());
  });

  it("describes every field", () => {
    const undescribed = hostSpecReference()
      .split("\n")
      .filter((line) => line.startsWith("| `") && line.endsWith("|  |"));
    expect(undescribed).toEqual([]);
  });
});
