import type { ToolDefinition } from "../../../../runtime/policy/tools/schema.ts";
import type { HostSpec } from "../../../../runtime/spec/host-spec.ts";
import { principalUid } from "../../../../runtime/spec/names.ts";
import { pinTools } from "../../../../runtime/spec/tool-definitions.ts";
import { sampleSpec } from "./sample.ts";

const text = { type: "object", properties: { path: { type: "string" }, text: { type: "string" } } };
const definitions: ToolDefinition[] = [
  { name: "read_file", description: "reads", inputSchema: text },
  { name: "write_file", description: "writes", inputSchema: text },
];

/** The sample host with three MCP servers: one offline, one with a name and a secret, one remote. */
export function sampleWithTools(change: (spec: HostSpec) => void = () => {}): HostSpec {
  return sampleSpec((spec) => {
    const tools = pinTools([], definitions).map((tool) => ({
      ...tool,
      class: tool.name.startsWith("read") ? ("read" as const) : ("write" as const),
    }));
    const npm = {
      kind: "npm" as const,
      folder: "mcp/files",
      package: "@x/server",
      version: "1.2.3",
      integrity: `sha512-${"A".repeat(86)}==`,
      lock: "a".repeat(64),
      entry: "node_modules/@x/server/dist/index.js",
      args: ["--root", "/tmp/50% of $HOME"],
      env: { MODE: "plain" },
      secrets: {},
    };
    spec.secrets["hub-token"] = { source: { kind: "env", variable: "HUB_TOKEN" } };
    spec.secrets["far-token"] = { source: { kind: "env", variable: "FAR_TOKEN" } };
    spec.mcpServers = {
      files: { uid: principalUid("mcp/files"), source: structuredClone(npm), tools },
      hub: {
        uid: principalUid("mcp/hub"),
        source: { ...structuredClone(npm), secrets: { HUB_TOKEN: "hub-token" } },
        tools: [],
      },
      far: { uid: null, source: { kind: "remote", url: "https://mcp.far.test/mcp", token: "far-token" }, tools },
    };
    spec.grants.egress.push({ principal: "mcp/hub", name: "api.hub.test" });
    spec.grants.call = [
      {
        agent: "ops",
        server: "files",
        tools: [
          { name: "read_file", arguments: { path: { kind: "path-prefix", prefix: "/tmp" } }, approval: "each-call" },
          { name: "write_file", arguments: {}, approval: "each-call" },
        ],
      },
      { agent: "web-hook", server: "far", tools: [{ name: "read_file", arguments: {}, approval: "each-call" }] },
    ];
    change(spec);
  });
}
