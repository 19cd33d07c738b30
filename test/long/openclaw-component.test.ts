import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hostProgramComponent } from "../../runtime/bundle/host-program.ts";
import { lockedPackages, targetOf } from "../../runtime/bundle/locked-packages.ts";
import { nodeBinary, nodeComponent } from "../../runtime/bundle/node.ts";
import { install, pinnedNpm } from "../../runtime/bundle/npm.ts";
import { OPENCLAW_ENTRY, openclawComponent } from "../../runtime/bundle/openclaw.ts";
import { OPENCLAW_TRIM, trimmedBy } from "../../runtime/bundle/openclaw-trim.ts";
import { readTree } from "../../runtime/bundle/tree.ts";
import { treeDigest } from "../../runtime/spec/tree.ts";
import { smoke } from "../runtime/bundle/smoke.ts";

const VERSION = "2026.9.6";
const root = process.getuid?.() === 0;
const folder = mkdtempSync(join(tmpdir(), "bailiwick-openclaw-"));

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A cache that has Node.js and npm but no component. */
async function cacheIn(path: string): Promise<string> {
  const npm = await pinnedNpm(await nodeBinary());
  const shared = [dirname(dirname(dirname(await nodeBinary()))), dirname(dirname(dirname(dirname(npm.cli))))];
  mkdirSync(path, { recursive: true });
  symlinkSync(shared[0] ?? "", join(path, "node"));
  symlinkSync(shared[1] ?? "", join(path, "npm"));
  return path;
}

describe(`OpenClaw ${VERSION}`, () => {
  it("is the same component, byte for byte, from two builds in two folders, one behind a link and under another umask", async () => {
    const build = async (name: string, umask: number) => {
      const cache = await cacheIn(join(folder, name));
      const before = process.umask(umask);
      const started = Date.now();
      try {
        const built = await openclawComponent({ version: VERSION }, { cache });
        console.log(`built in ${Date.now() - started} ms: ${built.digest}, ${built.archive.bytes} bytes`);
        return built;
      } finally {
        process.umask(before);
      }
    };
    const a = await build("one", 0o022);
    mkdirSync(join(folder, "a-folder-with-a-longer-name"));
    symlinkSync("a-folder-with-a-longer-name", join(folder, "link"));
    const b = await build("link/two", 0o077);
    expect(b.digest).toBe(a.digest);
    expect(b.archive.sha256).toBe(a.archive.sha256);
  });

  it("is trimmed by every rule, and only by rules that still find something", async () => {
    const into = join(folder, "untrimmed");
    await install(
      await lockedPackages(`openclaw/${VERSION}`),
      into,
      await pinnedNpm(await nodeBinary()),
      targetOf("x64"),
    );
    const matched = new Set<string>();
    await readTree(into, {
      skip: (path) => {
        const rule = trimmedBy(path);
        if (rule !== undefined) matched.add(rule.name);
        return rule !== undefined;
      },
    });
    expect(OPENCLAW_TRIM.map(({ name }) => name).filter((name) => !matched.has(name))).toEqual([]);
  });
});

describe(`what is left of OpenClaw ${VERSION}`, () => {
  const unpacked = join(folder, "unpacked");
  const node = join(folder, "unpacked-node");
  const gateway = join(folder, "unpacked-gateway");

  beforeAll(async () => {
    chmodSync(folder, 0o755);
    const built = {
      [node]: await nodeComponent(),
      [unpacked]: await openclawComponent({ version: VERSION }, { cache: join(folder, "one") }),
      [gateway]: await hostProgramComponent("model-gateway", "runtime/host/model-gateway/main.ts"),
    };
    for (const [into, { archive, digest }] of Object.entries(built)) {
      mkdirSync(into);
      execFileSync("tar", ["--zstd", "-xpf", archive.path, "-C", into]);
      expect(treeDigest(await readTree(into))).toBe(digest);
    }
  });

  it("has had its postinstall, holds nothing of another platform, and no trace of where it was built", async () => {
    expect(existsSync(join(unpacked, OPENCLAW_ENTRY))).toBe(true);
    expect(existsSync(join(unpacked, "node_modules/openclaw/.openclaw-lifecycle-pending"))).toBe(false);
    const files = (await readTree(unpacked)).filter((entry) => entry.type === "file");
    expect(files.map(({ path }) => path).filter((path) => /(^|[-_/])(darwin|win32|musl)[-_/]/.test(path))).toEqual([]);
    const traces = files.filter(({ path }) => readFileSync(join(unpacked, path)).includes(folder));
    expect(traces.map(({ path }) => path)).toEqual([]);
    expect((await readTree(unpacked)).filter((entry) => entry.type === "link")).toEqual([]);
  });

  it.skipIf(!root)(
    "starts, refuses a wrong token, and answers through a model, writing nothing to itself",
    async () => {
      const before = treeDigest(await readTree(unpacked));
      const work = join(folder, "smoke");
      mkdirSync(work, { mode: 0o755 });
      const report = await smoke(join(node, "bin", "node"), unpacked, work);
      const { error, log, ...seen } = report;
      expect(error, log).toBeUndefined();
      console.log(`ready after ${seen.readyMs} ms, first answer after ${seen.askMs} ms`);
      expect(seen.refused).toBe(401);
      expect(seen.answer.status).toBe(200);
      expect(JSON.parse(seen.answer.text).choices[0].message.content).toBe("the scripted model says 42");
      expect(seen.calls).toMatchObject([
        { path: "/v1/chat/completions", authorized: true, model: "scripted", stream: true },
      ]);
      expect(seen.exit).toBe(0);
      expect(treeDigest(await readTree(unpacked))).toBe(before);
      expect(statSync(join(work, "state")).uid).toBe(20999);
    },
  );

  it.skipIf(!root).each([
    ["openai", "/v1/chat/completions"],
    ["anthropic", "/v1/messages"],
    ["google", "/v1beta/models/scripted:streamGenerateContent?alt=sse"],
  ])("answers through the model gateway in %s's format, under a budget", async (format, path) => {
    const work = join(folder, `smoke-${format}`);
    mkdirSync(work, { mode: 0o755 });
    const through = [format, join(gateway, "model-gateway.mjs")];
    const { error, log, ...seen } = await smoke(join(node, "bin", "node"), unpacked, work, { through });
    expect(error, log).toBeUndefined();
    expect(JSON.parse(seen.answer.text).choices[0].message.content).toBe("the scripted model says 42");
    expect(seen.calls).toMatchObject([{ path, authorized: true }]);
    expect(seen.logged).toMatchObject([
      { agent: "main", model: "scripted", outcome: "ok", status: 200, stream: true, inputTokens: 10, outputTokens: 5 },
    ]);
  });

  if (!root) console.log("not run: starting OpenClaw in a network namespace of its own, which needs root");
});
