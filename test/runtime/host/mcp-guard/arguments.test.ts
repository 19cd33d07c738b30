import { describe, expect, it } from "vitest";
import { argumentsCheck } from "../../../../runtime/host/mcp-guard/arguments.ts";
import type { Narrowing } from "../../../../runtime/policy/tools/schema.ts";
import { pinned } from "./program.ts";

function check(inputSchema: object, narrowed: Record<string, Narrowing> = {}) {
  const [tool] = pinned([{ name: "t", inputSchema }]);
  if (tool === undefined) throw new Error("no tool");
  const judge = argumentsCheck(tool, { name: "t", arguments: narrowed, approval: "each-call" });
  return (args: Record<string, unknown>) => judge(args)?.rule ?? "ok";
}

const STRINGS = {
  type: "object",
  properties: { path: { type: "string" }, paths: { type: "array", items: { type: "string" } } },
};

describe("arguments by the pinned schema", () => {
  it("draft 7, 2020-12 and no dialect are known, others refuse every call", () => {
    const schema = { type: "object", properties: { n: { type: "integer", exclusiveMinimum: 0 } } };
    for (const $schema of [
      "http://json-schema.org/draft-07/schema#",
      "https://json-schema.org/draft/2020-12/schema",
      undefined,
    ]) {
      const judge = check($schema === undefined ? schema : { $schema, ...schema });
      expect([judge({ n: 1 }), judge({ n: 0 }), judge({ n: "1" })]).toEqual([
        "ok",
        "arguments-schema",
        "arguments-schema",
      ]);
    }
    expect(check({ $schema: "https://example.com/own", ...schema })({ n: 1 })).toBe("schema-unusable");
  });

  it("a schema that is none, or that would have to be fetched, refuses every call", () => {
    expect(check({ type: "nothing" })({})).toBe("schema-unusable");
    expect(check({ $ref: "https://example.com/schema.json" })({})).toBe("schema-unusable");
  });

  it("what the schema does not name is refused, unless it says that more is free", () => {
    expect(check(STRINGS)({ path: "x", other: 1 })).toBe("arguments-schema");
    expect(check({ ...STRINGS, additionalProperties: true })({ other: 1 })).toBe("ok");
    expect(check({ ...STRINGS, additionalProperties: { type: "number" } })({ other: "1" })).toBe("arguments-schema");
    expect(check(STRINGS)(JSON.parse('{"__proto__": {"path": "x"}}'))).toBe("arguments-schema");
    expect(check(STRINGS)({ constructor: 1 })).toBe("arguments-schema");
  });
});

describe("arguments as a grant narrows them", () => {
  it("must be given, and be text or a list of texts", () => {
    const judge = check({ type: "object", additionalProperties: true }, { path: { kind: "enum", values: ["a"] } });
    const rule = "arguments-grant:path";
    expect(judge({ path: "a" })).toBe("ok");
    expect(judge({ path: ["a", "a"] })).toBe("ok");
    for (const path of [undefined, null, [], ["a", "b"], [["a"]], 1, { a: 1 }, "A", ""])
      expect(judge(path === undefined ? {} : { path }), JSON.stringify(path)).toBe(rule);
  });

  it("a pattern must match the whole", () => {
    const judge = check(STRINGS, { path: { kind: "pattern", pattern: "a+|b" } });
    expect([judge({ path: "aa" }), judge({ path: "b" })]).toEqual(["ok", "ok"]);
    for (const path of ["ab", "xa", "a\n", "a\nb", "", "a".repeat(5000)])
      expect(judge({ path }), path.slice(0, 9)).toBe("arguments-grant:path");
  });

  it("a path must lie below its prefix as it is written", () => {
    const judge = check(STRINGS, { path: { kind: "path-prefix", prefix: "/srv/data" } });
    for (const path of ["/srv/data", "/srv/data/a", "/srv/data/a b/ü.txt", "/srv/data/..a"])
      expect(judge({ path }), path).toBe("ok");
    for (const path of [
      "/srv/database",
      "/srv",
      "/srv/data/",
      "/srv/data/../x",
      "/srv/data/./x",
      "/srv//data/x",
      "//srv/data/x",
      "srv/data/x",
      "/srv/data/x\0",
      "/srv/data/x\ny",
      "/srv/data\\..\\x",
      "file:///srv/data/x",
      "~/x",
      "",
    ])
      expect(judge({ path }), JSON.stringify(path)).toBe("arguments-grant:path");
    expect(check(STRINGS, { path: { kind: "path-prefix", prefix: "/" } })({ path: "/etc" })).toBe("ok");
    const many = check(STRINGS, { paths: { kind: "path-prefix", prefix: "/srv/data" } });
    expect(many({ paths: ["/srv/data/a", "/etc/passwd"] })).toBe("arguments-grant:paths");
  });
});
