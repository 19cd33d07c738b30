import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openclawComponent } from "../../../runtime/bundle/openclaw.ts";
import { OPENCLAW_TRIM, trimmedBy } from "../../../runtime/bundle/openclaw-trim.ts";
import {
  buildComponent,
  type ComponentRequest,
  componentInputs,
  componentName,
} from "../../../runtime/bundle/request.ts";
import { emptyCache, scratch, write } from "./scratch.ts";

describe("requested components", () => {
  it("have a digest of their inputs in any order, without anything being built", async () => {
    const folder = scratch();
    write(folder, { a: "1" });
    const requests: ComponentRequest[] = [
      { kind: "node" },
      { kind: "openclaw", version: "2026.9.6" },
      { kind: "folder", name: "agent-ops", path: folder },
    ];
    const digest = await componentInputs(requests);
    expect(await componentInputs([...requests].reverse())).toBe(digest);
    expect(await componentInputs(requests.slice(0, 2))).not.toBe(digest);
    writeFileSync(join(folder, "a"), "2");
    expect(await componentInputs(requests)).not.toBe(digest);
    expect(requests.map(componentName)).toEqual(["node", "openclaw", "agent-ops"]);
  });

  it("are built under the name they were asked for", async () => {
    const folder = scratch();
    write(folder, { a: "1" });
    const built = await buildComponent(
      { kind: "folder", name: "agent-ops", path: folder },
      { cache: await emptyCache() },
    );
    expect(built.name).toBe("agent-ops");
  });

  it("of an OpenClaw without a lock file are refused, naming what there is", async () => {
    await expect(openclawComponent({ version: "2026.1.1" })).rejects.toThrow(
      'received OpenClaw version "2026.1.1", for which this kit has no lock file; use 2026.9.5 or 2026.9.6',
    );
    await expect(componentInputs([{ kind: "openclaw", version: "../node" }])).rejects.toThrow("no lock file");
  });
});

describe("trimming", () => {
  it.each([
    ["node_modules/.package-lock.json", "npm's own records"],
    ["node_modules/.bin/", "command links"],
    ["node_modules/openclaw/node_modules/.bin/", "command links"],
    ["node_modules/zod/index.d.cts", "type declarations"],
    ["node_modules/zod/index.js.map", "source maps"],
    ["node_modules/openclaw/docs/", "documentation"],
    ["node_modules/openclaw/dist/worker/", "cloud worker"],
    ["node_modules/openclaw/dist/worker.js", undefined],
    ["node_modules/openclaw/skills/github/SKILL.md", undefined],
    ["node_modules/undici/docs/", undefined],
    ["node_modules/zod/package.json", undefined],
    ["node_modules/a/map", undefined],
  ])("%s: %s", (path, rule) => {
    expect(trimmedBy(path)?.name).toBe(rule);
  });

  it("says why for each rule, by a name of its own", () => {
    expect(new Set(OPENCLAW_TRIM.map(({ name }) => name)).size).toBe(OPENCLAW_TRIM.length);
    expect(OPENCLAW_TRIM.filter(({ reason }) => reason.length < 20)).toEqual([]);
  });
});
