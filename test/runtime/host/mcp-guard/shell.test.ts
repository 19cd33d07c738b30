import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { shellConfig, shellEntry } from "../../../../runtime/policy/shell/shell.ts";
import { digestOf } from "../../../../runtime/spec/digest.ts";
import { missing, SessionPlace } from "../../policy/shell-session.ts";
import { sampleWithShell } from "../../release/render/sample-shell.ts";
import {
  guardConfig,
  openSession,
  processBackend,
  type RunningGuard,
  scriptedBackend,
  sdkClient,
  startGuard,
  TOKENS,
} from "./program.ts";

// A shell behind the guard: the guard's real program, the real runner, the official client.

const spec = sampleWithShell();
const [grant] = spec.grants.shell ?? [];
if (grant === undefined) throw new Error("the sample has a shell");
const entry = (path: string, change: object = {}) => ({
  ...shellEntry(spec, grant),
  backend: { kind: "unix" as const, path },
  ...change,
});

describe.skipIf(missing !== undefined)("an agent's shell behind the guard", () => {
  const place = missing === undefined ? new SessionPlace(shellConfig(spec, grant)) : undefined;
  let guard: RunningGuard;
  beforeAll(async () => {
    guard = await startGuard(guardConfig([entry(await processBackend(place?.argv ?? []))]));
  });
  afterAll(async () => {
    guard.signal("SIGTERM");
    await guard.exited;
    await new Promise((done) => setTimeout(done, 300));
    place?.remove();
  });

  it("runs commands for the official client, by the definition that the kit pins", async () => {
    const client = await sdkClient(guard, "shell/ops");
    const { tools } = await client.listTools();
    expect(tools.map(({ name }) => name)).toEqual(["run"]);
    const result = await client.callTool({ name: "run", arguments: { command: "echo hello; exit 7" } });
    expect(result.content).toEqual([{ type: "text", text: "exit status 7\nhello\n" }]);
    expect(result.structuredContent).toEqual({ exitStatus: 7, timedOut: false, leftOutBytes: 0 });
  });

  it("leaves one line for each command: who, the hash of what, how it ended, how long, how much; no content", async () => {
    const { call } = await openSession(guard, "shell/ops");
    const given = { command: "echo canary-content; exit 3" };
    await call("run", given);
    const line = await guard.lastCall();
    expect(line).toMatchObject({
      principal: "agent/ops",
      server: "shell/ops",
      tool: "run",
      argumentsHash: digestOf(given),
      decision: "allowed",
      rule: "grant:shell/ops/run",
      outcome: "ok",
      exitStatus: 3,
    });
    expect(line.ms).toBeGreaterThan(0);
    expect(line.bytesOut).toBeGreaterThan(100);
    expect(guard.output()).not.toContain("canary-content");
  });

  it.each([
    ["no command", {}],
    ["an empty one", { command: "" }],
    ["another argument", { command: "true", user: "root" }],
    ["a relative directory", { command: "true", directory: "work" }],
    ["more time than is granted", { command: "true", seconds: 51 }],
  ])("is not given what its schema does not allow: %s", async (_, given) => {
    const { call } = await openSession(guard, "shell/ops");
    expect((await call("run", given)).body.result.isError).toBe(true);
    expect(await guard.lastCall()).toMatchObject({ decision: "refused", rule: "arguments-schema", exitStatus: null });
  });

  it("is its own agent's alone", async () => {
    const { id } = await openSession(guard, "shell/ops", TOKENS.docs);
    expect(id).toBe("");
    expect(guard.lines("call").at(-1)).toMatchObject({ principal: "agent/docs", rule: "no-grant" });
  });
});

describe("the guard", () => {
  const tool = { content: [{ type: "text", text: "x" }], structuredContent: { exitStatus: 5 } };

  it("logs an exit status of a shell alone: what another server says is its own affair", async () => {
    const { tools } = shellEntry(spec, grant);
    const backend = await scriptedBackend(tools.map(({ hash: _, class: __, ...definition }) => definition));
    backend.onCall = () => tool;
    const guard = await startGuard(
      guardConfig([entry(backend.path), entry(backend.path, { name: "other", exitStatus: undefined })]),
    );
    for (const [server, exitStatus] of [
      ["shell/ops", 5],
      ["other", null],
    ] as const) {
      await (await openSession(guard, server)).call("run", { command: "x" });
      expect(await guard.lastCall()).toMatchObject({ server, exitStatus });
    }
  });

  it("lets a command take the time of its grant, which may be longer or shorter than that of other calls", async () => {
    const { tools } = shellEntry(spec, grant);
    const backend = await scriptedBackend(tools.map(({ hash: _, class: __, ...definition }) => definition));
    backend.onCall = (_, socket, id) => {
      setTimeout(() => socket.write(`${JSON.stringify({ jsonrpc: "2.0", id, result: tool })}\n`), 700);
      return undefined;
    };
    const guard = await startGuard(
      guardConfig([entry(backend.path), entry(backend.path, { name: "short", callMs: undefined })], { callMs: 300 }),
    );
    const outcome = async (server: string) => {
      await (await openSession(guard, server)).call("run", { command: "x" });
      return (await guard.lastCall()).outcome;
    };
    expect(await outcome("shell/ops")).toBe("ok");
    expect(await outcome("short")).toBe("timeout");
  });
});
