import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Argument, McpPackage, Secret } from "../../constructs/index.ts";
import type { McpLock } from "../../runtime/policy/tools/schema.ts";
import { formatMcpLock, pinTools } from "../../runtime/spec/tool-definitions.ts";
import { aHost, temporaryFolder } from "./synthesised.ts";

const INTEGRITY = `sha512-${"A".repeat(86)}==`;
const text = { type: "object", properties: { path: { type: "string" } } };
const home = process.cwd();
let project = "";
beforeEach(() => {
  project = temporaryFolder();
  process.chdir(project);
});
afterEach(() => process.chdir(home));

/** A folder as npm makes it; sha256 of its lock file. */
function npmFolder(
  folder = "mcp/files",
  change: (files: { package: object; lock: object }) => void = () => {},
): string {
  const files = {
    package: { dependencies: { "@x/server": "1.2.3" } },
    lock: {
      lockfileVersion: 3,
      packages: {
        "": {},
        "node_modules/@x/server": { version: "1.2.3", integrity: INTEGRITY, bin: { server: "./dist/index.js" } },
      },
    },
  };
  change(files);
  mkdirSync(join(project, folder), { recursive: true });
  writeFileSync(join(project, folder, "package.json"), JSON.stringify(files.package));
  const lock = JSON.stringify(files.lock);
  writeFileSync(join(project, folder, "package-lock.json"), lock);
  return createHash("sha256").update(lock).digest("hex");
}

function lockFile(lock: string, change: (lock: McpLock) => void = () => {}): void {
  const tools = pinTools(
    [],
    [
      { name: "look", inputSchema: text },
      { name: "change", inputSchema: text },
      { name: "new", inputSchema: text },
    ],
  ).map((tool) => ({ ...tool, class: ({ look: "read", change: "write" } as const)[tool.name] ?? null }));
  const value: McpLock = {
    version: 1,
    servers: {
      files: { source: { kind: "npm", package: "@x/server", version: "1.2.3", integrity: INTEGRITY, lock }, tools },
    },
  };
  change(value);
  writeFileSync(join(project, "mcp.lock.json"), formatMcpLock(value));
}

const host = () => {
  const h = aHost("ops");
  return { host: h, agent: h.addAgent("ops"), files: h.addMcpServer("files", McpPackage.npm("mcp/files")) };
};

describe("an MCP server", () => {
  it("is granted workspaces of its own host, once each", () => {
    npmFolder();
    const { host: h, files } = host();
    const repo = h.addWorkspace("repo").grantReadWrite(files);
    h.addWorkspace("docs").grantRead(files);
    expect(h.toSpec().grants.serverMount).toEqual([
      { server: "files", workspace: "repo", mode: "rw" },
      { server: "files", workspace: "docs", mode: "ro" },
    ]);
    expect(() => repo.grantRead(files)).toThrow('workspace "repo" to MCP server "files" is granted twice');
    const far = h.addMcpServer("far", McpPackage.remote({ url: "https://mcp.example.com/mcp" }));
    expect(() => repo.grantRead(far)).toThrow(
      'AgentHost "ops": workspaces.repo.grantRead: MCP server "far" does not run on this host',
    );
    expect(() => aHost("other").addWorkspace("theirs").grantRead(files)).toThrow(
      'received MCP server "files" of host "ops"; a grant stays within one host',
    );
  });

  it("needs no lock entry as long as nothing of it is granted", () => {
    const lock = npmFolder();
    const { host: h } = host();
    expect(h.toSpec().mcpServers?.files).toMatchObject({
      source: {
        kind: "npm",
        folder: "./mcp/files",
        package: "@x/server",
        version: "1.2.3",
        integrity: INTEGRITY,
        lock,
        entry: "node_modules/@x/server/dist/index.js",
      },
      tools: [],
    });
    expect(h.toSpec().grants).not.toHaveProperty("call");
  });

  it("a host without one has no trace of it in its spec", () => {
    const spec = aHost("ops").toSpec();
    expect(Object.keys(spec)).not.toContain("mcpServers");
    expect(Object.keys(spec.grants)).not.toContain("call");
  });

  it("a granted tool stands in the spec as pinned, with what the grant narrows", () => {
    lockFile(npmFolder());
    const { host: h, agent, files } = host();
    files.grantCall(agent, [
      "look",
      { tool: "change", arguments: { path: Argument.below("/srv/data") }, approval: "waived" },
    ]);
    const spec = h.toSpec();
    expect(spec.mcpServers?.files?.tools.map(({ name }) => name)).toEqual(["change", "look", "new"]);
    expect(spec.grants.call).toEqual([
      {
        agent: "ops",
        server: "files",
        tools: [
          { name: "look", arguments: {}, approval: "each-call" },
          { name: "change", arguments: { path: { kind: "path-prefix", prefix: "/srv/data" } }, approval: "waived" },
        ],
      },
    ]);
  });

  it("takes secrets as references in its environment, each source once", () => {
    npmFolder();
    const h = aHost("ops");
    const token = Secret.fromEnv("HUB_TOKEN");
    h.addMcpServer("hub", McpPackage.npm("mcp/files", { env: { HUB_TOKEN: token, MODE: "plain" }, args: ["--stdio"] }));
    h.addMcpServer("far", McpPackage.remote({ url: "https://mcp.example.com/mcp", token }));
    const { secrets, mcpServers } = h.toSpec();
    expect(secrets).toEqual({ "hub-token": { source: { kind: "env", variable: "HUB_TOKEN" } } });
    expect(mcpServers?.hub?.source).toMatchObject({ env: { MODE: "plain" }, secrets: { HUB_TOKEN: "hub-token" } });
    expect(mcpServers?.far).toEqual({
      uid: null,
      source: { kind: "remote", url: "https://mcp.example.com/mcp", token: "hub-token" },
      tools: [],
    });
    expect(() =>
      h.addMcpServer("more", McpPackage.npm("mcp/files", { env: { X: Secret.fromFile("x", { name: "hub-token" }) } })),
    ).toThrow('second secret named "hub-token"');
  });

  it("may be given names to reach", () => {
    npmFolder();
    const { host: h, files } = host();
    files.allowEgress("api.example.com");
    expect(h.toSpec().grants.egress).toEqual([{ principal: "mcp/files", name: "api.example.com" }]);
  });
});

describe("refused, with the path, what was received and what to do", () => {
  const at = 'AgentHost "ops": mcpServers.files.grantCall';
  it.each<[string, (h: ReturnType<typeof host>) => unknown, string]>([
    [
      "a tool that is not pinned",
      ({ agent, files }) => files.grantCall(agent, ["erase"]),
      `${at} tools[0]: received "erase", which is no pinned tool of "files"; it has "change", "look", "new": deploy the server without the grant, run \`bailiwick mcp pin <host> files\``,
    ],
    [
      "a tool without a class",
      ({ agent, files }) => files.grantCall(agent, ["look", "new"]),
      `${at} tools[1]: received "new", which nobody has classified; set its "class" in mcp.lock.json`,
    ],
    [
      "an argument it does not have",
      ({ agent, files }) => files.grantCall(agent, [{ tool: "look", arguments: { file: Argument.oneOf("a") } }]),
      'received argument "file", which "look" does not have; it has "path"',
    ],
    ["no tools", ({ agent, files }) => files.grantCall(agent, []), `${at}: received []; name at least one tool`],
    [
      "a tool twice",
      ({ agent, files }) => files.grantCall(agent, ["look", "look"]),
      'tools[1]: received "look"; it is in the list twice',
    ],
    [
      "a second grant",
      ({ agent, files }) => files.grantCall(agent, ["look"]).grantCall(agent, ["change"]),
      'server "files" to agent "ops" is granted twice',
    ],
    [
      "an agent of another host",
      ({ files }) => files.grantCall(aHost("two").addAgent("x"), ["look"]),
      'received agent "x" of host "two"',
    ],
    ["a stranger", ({ files }) => files.grantCall("ops" as never, ["look"]), "received string, not an agent"],
    [
      "a misspelt key",
      ({ agent, files }) => files.grantCall(agent, [{ tool: "look", argument: {} } as never]),
      'unknown key "argument"',
    ],
    [
      "something else for an argument",
      ({ agent, files }) => files.grantCall(agent, [{ tool: "look", arguments: { path: "/srv" as never } }]),
      'arguments.path: received "/srv"; give Argument.oneOf',
    ],
    [
      "a wildcard that is too wide",
      ({ files }) => files.allowEgress("*.com"),
      'mcpServers.files.allowEgress: received "*.com"; must be a star for one whole label',
    ],
    [
      "a name for a remote server",
      ({ host: h }) =>
        h.addMcpServer("far", McpPackage.remote({ url: "https://a.example.com" })).allowEgress("b.example.com"),
      '"far" does not run on this host',
    ],
    [
      "a taken name",
      ({ host: h }) => h.addMcpServer("files", McpPackage.npm("mcp/files")),
      "already taken by another MCP server",
    ],
    ["something else for a package", ({ host: h }) => h.addMcpServer("x", "mcp/files" as never), "give McpPackage.npm"],
  ])("%s", (_, attempt, message) => {
    lockFile(npmFolder());
    expect(() => attempt(host())).toThrow(message);
  });

  it("tools that were pinned from other packages, or a lock file that was edited", () => {
    lockFile("b".repeat(64));
    npmFolder();
    const grant = () => {
      const { agent, files } = host();
      files.grantCall(agent, ["look"]);
    };
    expect(grant).toThrow(
      /tools of "files" that were read from @x\/server 1\.2\.3 \(package-lock\.json bbbbbbbbbbbb\)/,
    );
    lockFile(npmFolder(), (lock) => Object.assign(lock.servers.files?.tools[0] ?? {}, { description: "harmless" }));
    expect(grant).toThrow("its definition is not the one that hash");
  });

  it.each<[string, () => unknown, string]>([
    [
      "a folder without lock file",
      () => {
        mkdirSync("empty");
        return McpPackage.npm("empty");
      },
      "it has no package.json; make both with",
    ],
    [
      "a lock file without integrity",
      () => {
        npmFolder("a", ({ lock }) => Object.assign(lock, { packages: {} }));
        return McpPackage.npm("a");
      },
      'has no "@x/server" with an integrity',
    ],
    [
      "a package it does not have",
      () => {
        npmFolder("a");
        return McpPackage.npm("a", { package: "y" });
      },
      'McpPackage.npm package: received "y"',
    ],
    [
      "a program it does not have",
      () => {
        npmFolder("a");
        return McpPackage.npm("a", { bin: "y" });
      },
      '"@x/server" has server; name one of them',
    ],
    [
      "a token as argument",
      () => {
        npmFolder("a");
        return McpPackage.npm("a", { args: ["ghp_0123456789abcdefghijABCDEFGHIJ012345"] });
      },
      "McpPackage.npm args[0]: received",
    ],
    [
      "a token as plain value",
      () => {
        npmFolder("a");
        return McpPackage.npm("a", { env: { T: "ghp_0123456789abcdefghijABCDEFGHIJ012345" } });
      },
      "McpPackage.npm env.T: received",
    ],
    ["a remote server by http", () => McpPackage.remote({ url: "http://mcp.example.com/" }), "must be an https:// URL"],
    [
      "a remote server by address and port",
      () => McpPackage.remote({ url: "https://mcp.example.com:8443/" }),
      "must be an https:// URL",
    ],
    [
      "a literal token",
      () => McpPackage.remote({ url: "https://mcp.example.com/", token: "abc" as never }),
      "McpPackage.remote token",
    ],
    ["a pattern that is none", () => Argument.matching("("), "must be a regular expression"],
    ["a path with ..", () => Argument.below("/srv/../etc"), "must be an absolute path"],
  ])("%s", (_, attempt, message) => {
    expect(attempt).toThrow(message);
  });
});
