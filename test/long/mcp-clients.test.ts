import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nodeBinary } from "../../runtime/bundle/node.ts";
import {
  guardConfig,
  pinned,
  processBackend,
  type RunningGuard,
  scriptedBackend,
  serverConfig,
  startGuard,
  TOKENS,
} from "../runtime/host/mcp-guard/program.ts";

// The protocol's own clients against the guard: the inspector, which people use, in front of real servers, and the
// conformance suite. Both from a lock file beside this file; of no use to anything else.

const PACKAGES = "node_modules/@modelcontextprotocol";
const folder = mkdtempSync(join(tmpdir(), "bailiwick-mcp-clients-"));
let node = "";
let guard: RunningGuard;
let door: Server;

beforeAll(async () => {
  cpSync(resolve(import.meta.dirname, "mcp-clients"), folder, { recursive: true });
  execFileSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: folder, stdio: "inherit" });
  node = await nodeBinary();
  mkdirSync(join(folder, "open"));
  writeFileSync(join(folder, "open/a.txt"), "what may be read");
  const files = await processBackend([process.execPath, `${PACKAGES}/server-filesystem/dist/index.js`, folder]);
  const everything = await processBackend([process.execPath, `${PACKAGES}/server-everything/dist/index.js`, "stdio"]);
  const contents = await scriptedBackend(CONTENTS.map(({ name }) => ({ name, inputSchema: { type: "object" } })));
  contents.onCall = ({ name }) => CONTENTS.find((tool) => tool.name === name)?.result;
  const paths = { files, everything, contents: contents.path };
  const bare = Object.entries(paths).map(([name, path]) => serverConfig(name, { kind: "unix", path }, [], {}));
  const first = await startGuard(guardConfig(bare));
  const tools = async (server: string) => {
    const answer = await first.admin({ do: "tools", server });
    if (!("tools" in answer)) throw new Error(JSON.stringify(answer));
    return answer.tools;
  };
  const list = {
    files: await tools("files"),
    everything: await tools("everything"),
    contents: await tools("contents"),
  };
  first.signal("SIGTERM");
  await first.exited;
  const server = (name: keyof typeof paths, granted: readonly string[]) =>
    serverConfig(name, { kind: "unix", path: paths[name] }, pinned(list[name], { write_file: "write" }), {
      ops: granted,
    });
  guard = await startGuard(
    guardConfig(
      [
        server("files", ["read_text_file", "write_file"]),
        server("everything", ["echo", "get-sum"]),
        server(
          "contents",
          CONTENTS.map(({ name }) => name),
        ),
      ],
      { sessions: 200 },
    ),
  );
  door = await doorWithToken();
}, 300_000);

afterAll(() => {
  door?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** What the conformance suite asks a server to have, beside what it calls it. */
const picture = { type: "image", data: "iVBORw0KGgo=", mimeType: "image/png" };
const text = (said: string) => ({ type: "text", text: said });
const resource = (uri: string) => ({ type: "resource", resource: { uri, mimeType: "text/plain", text: "inside" } });
const CONTENTS = [
  { name: "test_simple_text", result: { content: [text("plain")] } },
  { name: "test_image_content", result: { content: [picture] } },
  { name: "test_audio_content", result: { content: [{ type: "audio", data: "UklGRg==", mimeType: "audio/wav" }] } },
  { name: "test_embedded_resource", result: { content: [resource("test://embedded")] } },
  { name: "test_multiple_content_types", result: { content: [text("all"), picture, resource("test://mixed")] } },
  { name: "test_error_handling", result: { isError: true, content: [text("meant to fail")] } },
];

/**
 * The suite knows no tokens: what passes here is given the agent's. A `Host` that is this door's own is the guard's there; all else
 * is as it was sent.
 */
async function doorWithToken(): Promise<Server> {
  const server = createServer((asked, answer) => {
    const { method, url: path, headers } = asked;
    const own = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const host = headers.host === own ? `127.0.0.1:${guard.port}` : headers.host;
    const onward = request(
      {
        host: "127.0.0.1",
        port: guard.port,
        method,
        path,
        headers: { ...headers, host, authorization: `Bearer ${TOKENS.ops}` },
      },
      (got) => {
        answer.writeHead(got.statusCode ?? 502, got.headers);
        got.pipe(answer);
      },
    );
    onward.on("error", () => answer.destroy());
    asked.pipe(onward);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return server;
}

function run(program: string, ...args: string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((done) => {
    const child = spawn(node, [join(folder, program), ...args], {
      cwd: folder,
      env: { PATH: process.env.PATH, HOME: folder },
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk) => {
        output += chunk;
      });
    child.on("close", (code) => done({ code, output }));
  });
}

describe("the official inspector", { timeout: 120_000 }, () => {
  const inspect = (server: string, token: string, ...rest: string[]) =>
    run(
      "node_modules/.bin/mcp-inspector",
      "--cli",
      guard.url(server),
      "--transport",
      "http",
      "--header",
      `Authorization: Bearer ${token}`,
      ...rest,
    );

  it("lists what is granted, of real servers, and nothing else", async () => {
    const listed = await inspect("files", TOKENS.ops, "--method", "tools/list");
    const names = [...listed.output.matchAll(/^ {6}"name": "([^"]+)"/gm)].map(([, name]) => name);
    expect(names, listed.output).toEqual(["read_text_file", "write_file"]);
    expect(listed.code).toBe(0);
  });

  it("calls what is granted, and is refused what is not, or needs a person", async () => {
    const call = (server: string, tool: string, ...args: string[]) =>
      inspect(
        server,
        TOKENS.ops,
        "--method",
        "tools/call",
        "--tool-name",
        tool,
        ...args.flatMap((arg) => ["--tool-arg", arg]),
      );
    expect((await call("everything", "get-sum", "a=200000", "b=71871")).output).toContain("271871");
    expect((await call("files", "read_text_file", `path=${join(folder, "open/a.txt")}`)).output).toContain(
      "what may be read",
    );
    // a tool that is not listed it does not even ask for
    expect((await call("everything", "get-env")).output).toMatch(/not found|not granted/i);
    const write = await call("files", "write_file", `path=${join(folder, "open/b.txt")}`, "content=x");
    expect(write.output).toContain("needs a person's approval");
  });

  it("is let in by no other token", async () => {
    const refused = await inspect("everything", "not-a-token", "--method", "tools/list");
    expect(refused.code).not.toBe(0);
    expect(refused.output).toContain('"auth_required"');
  });
});

describe("the official conformance suite", { timeout: 120_000 }, () => {
  const conforms = async (scenario: string, server: string) => {
    const url = `http://127.0.0.1:${(door.address() as AddressInfo).port}/${server}`;
    const ran = await run("node_modules/.bin/conformance", "server", "--url", url, "--scenario", scenario);
    const [, passed, of] = /Passed: (\d+)\/(\d+)/.exec(ran.output) ?? [];
    return { whole: ran.code === 0 && passed !== undefined && passed !== "0" && passed === of, output: ran.output };
  };

  it.each(["server-initialize", "ping", "tools-list"])(
    "finds %s as it should be, before a real server",
    async (scenario) => {
      const { whole, output } = await conforms(scenario, "everything");
      expect(whole, output).toBe(true);
    },
  );

  it("finds that other hosts' pages are turned away; the guard turns away those of this one too, which the suite would let in", async () => {
    const { whole, output } = await conforms("dns-rebinding-protection", "everything");
    expect(output).toMatch(/SUCCESS.* Server rejects requests with non-localhost Host\/Origin headers/);
    expect(output).toMatch(/Expected HTTP 2xx for valid localhost Host\/Origin headers, got 403/);
    expect(whole).toBe(false);
  });

  it.each([
    "tools-call-simple-text",
    "tools-call-image",
    "tools-call-audio",
    "tools-call-embedded-resource",
    "tools-call-mixed-content",
    "tools-call-error",
  ])("finds %s as it should be: the guard relays each kind of content", async (scenario) => {
    const { whole, output } = await conforms(scenario, "contents");
    expect(whole, output).toBe(true);
  });

  // not relayed, on purpose; the server behind has them all
  it.each(["resources-list", "prompts-list", "logging-set-level", "completion-complete"])(
    "finds no %s: the guard offers tools alone",
    async (scenario) => {
      const { whole, output } = await conforms(scenario, "everything");
      expect(whole, output).toBe(false);
      expect(output).toMatch(/method not found|not support|-32601/i);
    },
  );
});
