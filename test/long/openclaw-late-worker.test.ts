import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nodeComponent } from "../../runtime/bundle/node.ts";
import { openclawComponent } from "../../runtime/bundle/openclaw.ts";
import { smoke } from "../runtime/bundle/smoke.ts";

// What an emulated machine does to OpenClaw, without one: its worker is late. And what is loaded before OpenClaw there.

const VERSION = "2026.9.6";
const root = process.getuid?.() === 0;
const folder = mkdtempSync(join(tmpdir(), "bailiwick-late-"));
const path = (name: string) => join(folder, name);

if (!root) console.log("not run: starting OpenClaw in a network namespace of its own, which needs root");

describe.skipIf(!root)(`OpenClaw ${VERSION} whose worker is up after six seconds`, () => {
  beforeAll(async () => {
    chmodSync(folder, 0o755);
    const components = { node: await nodeComponent(), openclaw: await openclawComponent({ version: VERSION }) };
    for (const [name, { archive }] of Object.entries(components)) {
      mkdirSync(path(name));
      execFileSync("tar", ["--zstd", "-xpf", archive.path, "-C", path(name)]);
    }
    const files = ["../../runtime/release/render/templates/emulated.mjs", "../runtime/bundle/late-worker.mjs"];
    for (const file of files) {
      const copy = path(file.split("/").at(-1) ?? "");
      copyFileSync(fileURLToPath(new URL(file, import.meta.url)), copy);
      chmodSync(copy, 0o444); // it runs as a user that may not see this clone
    }
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const start = async (work: string, ...loaded: string[]) => {
    mkdirSync(path(work), { mode: 0o755 });
    const options = loaded.map((name) => `--import ${path(name)}`).join(" ");
    return smoke(path("node/bin/node"), path("openclaw"), path(work), { options });
  };

  it("ends by itself", async () => {
    const { error, log } = await start("bare", "late-worker.mjs");
    expect(error).toContain("gateway ended with 78 before it was ready");
    expect(log).toMatch(/state lease heartbeat did not become ready \(.*timeoutMs=5000/);
  });

  it("is ready and answers with its bound lengthened", async () => {
    const { error, log, answer } = await start("lengthened", "late-worker.mjs", "emulated.mjs");
    expect(error, log).toBeUndefined();
    expect(JSON.parse(answer.text).choices[0].message.content).toBe("the scripted model says 42");
    expect(log).not.toContain("OpenClaw may end within seconds");
  });
});
