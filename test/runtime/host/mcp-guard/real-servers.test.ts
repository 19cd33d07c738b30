import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  guardConfig,
  pinned,
  processBackend,
  type RunningGuard,
  sdkClient,
  serverConfig,
  startGuard,
  TOKENS,
} from "./program.ts";

const FILESYSTEM = "node_modules/@modelcontextprotocol/server-filesystem/dist/index.js";
const EVERYTHING = "node_modules/@modelcontextprotocol/server-everything/dist/index.js";

const folder = mkdtempSync(join(tmpdir(), "bailiwick-guard-files-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let guard: RunningGuard;
beforeAll(async () => {
  mkdirSync(join(folder, "open"));
  mkdirSync(join(folder, "closed"));
  writeFileSync(join(folder, "open/a.txt"), "what may be read");
  writeFileSync(join(folder, "closed/b.txt"), "what may not");
  const files = await processBackend([process.execPath, FILESYSTEM, folder]);
  const everything = await processBackend([process.execPath, EVERYTHING, "stdio"]);
  const bare = (name: string, path: string) => serverConfig(name, { kind: "unix", path }, [], {});
  // as `bailiwick mcp pin` does: what the servers say without any grant
  const first = await startGuard(guardConfig([bare("files", files), bare("everything", everything)]));
  const list = async (server: string) => {
    const answer = await first.admin({ do: "tools", server });
    if (!("tools" in answer)) throw new Error(JSON.stringify(answer));
    return answer.tools;
  };
  const [fileTools, otherTools] = [await list("files"), await list("everything")];
  first.signal("SIGTERM");
  expect(await first.exited).toBe(0);
  guard = await startGuard(
    guardConfig([
      serverConfig("files", { kind: "unix", path: files }, pinned(fileTools, { write_file: "write" }), {
        ops: [
          { name: "read_text_file", arguments: { path: { kind: "path-prefix", prefix: join(folder, "open") } } },
          "list_directory",
          "write_file",
        ],
      }),
      serverConfig("everything", { kind: "unix", path: everything }, pinned(otherTools), {
        ops: ["echo", "get-sum"],
        docs: ["echo"],
      }),
    ]),
  );
}, 60_000);

describe("real servers, driven by the official client", () => {
  it("lists the granted tools with their pinned definitions, and no others", async () => {
    const client = await sdkClient(guard, "files");
    const { tools } = await client.listTools();
    expect(tools.map(({ name }) => name)).toEqual(["read_text_file", "list_directory", "write_file"]);
    expect(tools[0]?.inputSchema.properties).toHaveProperty("path");
    expect(client.getServerCapabilities()).toEqual({ tools: {} });
    expect(client.getInstructions()).toBeUndefined();
    const other = await sdkClient(guard, "everything", TOKENS.docs);
    expect((await other.listTools()).tools.map(({ name }) => name)).toEqual(["echo"]);
  });

  it("relays a granted call, also with a structured result", async () => {
    const client = await sdkClient(guard, "files");
    await client.listTools();
    const result = await client.callTool({ name: "read_text_file", arguments: { path: join(folder, "open/a.txt") } });
    expect(JSON.stringify(result)).toContain("what may be read");
    const other = await sdkClient(guard, "everything");
    const sum = await other.callTool({ name: "get-sum", arguments: { a: 200_000, b: 71_871 } });
    expect(JSON.stringify(sum)).toContain("271871");
    expect(await guard.lastCall()).toMatchObject({
      principal: "agent/ops",
      server: "everything",
      tool: "get-sum",
      decision: "allowed",
      rule: "grant:everything/get-sum",
      outcome: "ok",
      approver: null,
    });
    expect((await guard.lastCall()).argumentsHash).toMatch(/^[0-9a-f]{64}$/);
    expect(JSON.stringify(await guard.lastCall())).not.toContain("271871");
  });

  it("refuses a tool that is not granted, a path outside the granted one, and a wrong argument", async () => {
    const client = await sdkClient(guard, "files");
    const read = (path: unknown, more: object = {}) =>
      client.callTool({ name: "read_text_file", arguments: { path, ...more } });
    await expect(client.callTool({ name: "move_file", arguments: {} })).rejects.toThrow("is not granted to agent");
    expect(await guard.lastCall()).toMatchObject({ decision: "refused", rule: "not-granted", tool: "move_file" });
    for (const path of [
      join(folder, "closed/b.txt"),
      `${folder}/open/../closed/b.txt`,
      `${folder}/open/`,
      `${folder}/opener`,
      "a.txt",
    ]) {
      const result = await read(path);
      expect(result.isError, path).toBe(true);
      expect(await guard.lastCall(), path).toMatchObject({ decision: "refused", rule: "arguments-grant:path" });
    }
    expect((await read(7)).isError).toBe(true);
    expect(await guard.lastCall()).toMatchObject({ rule: "arguments-schema" });
    expect((await read(join(folder, "open/a.txt"), { sneaky: true })).isError).toBe(true);
    expect(await guard.lastCall()).toMatchObject({ rule: "arguments-schema" });
  });

  it("has no resources, prompts or completions, whatever the server has", async () => {
    const client = await sdkClient(guard, "everything");
    for (const method of ["resources/list", "prompts/list", "resources/templates/list"]) {
      const asked = client.request({ method, params: {} } as never, { safeParse: () => ({ success: true }) } as never);
      await expect(asked, method).rejects.toThrow(/relays tools alone|does not support/);
    }
  });

  it("lets a tool that writes do its work once after a person has approved this very call", async () => {
    const client = await sdkClient(guard, "files");
    const write = (text: string) =>
      client.callTool({ name: "write_file", arguments: { path: join(folder, "open/new.txt"), content: text } });
    expect(JSON.stringify(await write("first"))).toMatch(/needs a person's approval, as [0-9a-f]{8};/);
    const pending = await guard.admin({ do: "pending" });
    const [call] = "pending" in pending ? pending.pending : [];
    expect(call).toMatchObject({ agent: "ops", server: "files", tool: "write_file", arguments: { content: "first" } });
    await guard.admin({ do: "approve", id: call?.id ?? "", by: "ada" });
    expect((await write("second")).isError, "other arguments").toBe(true);
    expect((await write("first")).isError).toBeFalsy();
    expect(await guard.lastCall()).toMatchObject({
      tool: "write_file",
      decision: "allowed",
      approver: "ada",
      outcome: "ok",
    });
    expect((await write("first")).isError, "replayed").toBe(true);
    expect(await guard.lastCall()).toMatchObject({ decision: "refused", rule: "approval-required" });
    expect(guard.lines("approved")).toHaveLength(1);
  });
});
