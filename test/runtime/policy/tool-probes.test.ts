import { describe, expect, it } from "vitest";
import { guardConfig } from "../../../runtime/policy/tools/guard-config.ts";
import { toolProbes } from "../../../runtime/policy/tools/probes.ts";
import type { GuardConfig } from "../../../runtime/policy/tools/schema.ts";
import { renderRelease } from "../../../runtime/release/render/release.ts";
import { sampleInput } from "../release/render/sample.ts";
import { sampleWithTools } from "../release/render/sample-tools.ts";
import { done, exited, failed, judgeOf, printed, sampleSubject } from "./judged.ts";

const spec = sampleWithTools();
const probes = toolProbes({ spec, manifest: renderRelease(sampleInput(spec)).manifest });

it("a host without MCP servers has none of them", () => {
  expect(toolProbes(sampleSubject())).toEqual([]);
});

it("there is one for each grant, each principal's way to the sockets, and each offline server", () => {
  expect(probes.map(({ id }) => id).sort()).toEqual([
    "agent/ops/tool-sockets",
    "agent/ops/tools/files",
    "agent/web-hook/tool-sockets",
    "agent/web-hook/tools/far",
    "egress/tool-sockets",
    "gateway/tool-sockets",
    "guard/tool-sockets",
    "mcp/files/network",
    "mcp/files/tool-sockets",
    "mcp/hub/tool-sockets",
    "model/demo/tool-sockets",
    "root/tool-drift",
    "root/tool-grants",
    "root/tool-sockets",
  ]);
});

describe("a granted server", () => {
  const judge = judgeOf(probes, "agent/ops/tools/files");
  it("is reached when the guard asks for a token", () => {
    expect(judge(done(401)).verdict).toBe("held");
    for (const facts of [done(200), done(405), failed("ECONNREFUSED")]) expect(judge(facts).verdict).toBe("broken");
  });
});

describe("the guard's configuration on the host", () => {
  const judge = judgeOf(probes, "root/tool-grants");
  const read = (change: (config: GuardConfig) => void) => {
    const config = structuredClone(guardConfig(spec, () => ["a".repeat(64)]));
    change(config);
    return done(JSON.stringify(config));
  };
  it("holds when it is what the spec grants, whatever the tokens", () => {
    expect(judge(read(() => {}))).toEqual({ verdict: "held", found: "as granted" });
  });
  it.each<[string, (config: GuardConfig) => void]>([
    [
      "a tool more",
      ({ servers }) => servers[0]?.grants[0]?.tools.push({ name: "write_file", arguments: {}, approval: "waived" }),
    ],
    [
      "an approval waived",
      ({ servers }) => Object.assign(servers[1]?.grants[0]?.tools[1] ?? {}, { approval: "waived" }),
    ],
    ["a write that is said to read", ({ servers }) => Object.assign(servers[1]?.tools[1] ?? {}, { class: "read" })],
    ["an argument set free", ({ servers }) => Object.assign(servers[1]?.grants[0]?.tools[0] ?? {}, { arguments: {} })],
    ["a token more", ({ agents }) => agents.push({ agent: "mallory", sha256: ["b".repeat(64)] })],
    ["a server elsewhere", ({ servers }) => Object.assign(servers[0]?.backend ?? {}, { url: "https://evil.test/" })],
    ["a server less", ({ servers }) => servers.pop()],
  ])("breaks: %s", (_, change) => {
    expect(judge(read(change)).verdict).toBe("broken");
  });
  it("proves nothing in another format, and is broken when it is not there", () => {
    expect(judge(done("{}")).verdict).toBe("unprovable");
    expect(judge(failed("ENOENT")).verdict).toBe("broken");
  });
});

describe("drift", () => {
  const judge = judgeOf(probes, "root/tool-drift");
  const says = (quarantined: string | null) => printed(JSON.stringify({ servers: [{ name: "files", quarantined }] }));
  it("is broken as soon as one server is out of use", () => {
    expect(judge(says(null)).verdict).toBe("held");
    expect(judge(says("read_file changed"))).toEqual({ verdict: "broken", found: "files: read_file changed" });
    expect(judge(exited(1)).verdict).toBe("unprovable");
  });
});

describe("the sockets", () => {
  it("are the guard's and root's alone", () => {
    const judge = judgeOf(probes, "root/tool-sockets");
    const owners = (change: Record<string, unknown> = {}) =>
      done({
        "/run/bailiwick-guard/admin.sock": { uid: 0, mode: 0o140600 },
        "/run/bailiwick-mcp/files.sock": { uid: 20002, mode: 0o140600 },
        "/run/bailiwick-mcp/hub.sock": { uid: 20002, mode: 0o140600 },
        ...change,
      });
    expect(judge(owners()).verdict).toBe("held");
    for (const wrong of [null, { uid: 20002, mode: 0o140600 }, { uid: 0, mode: 0o140666 }])
      expect(judge(owners({ "/run/bailiwick-guard/admin.sock": wrong })).verdict).toBe("broken");
    expect(judge(owners({ "/run/bailiwick-mcp/hub.sock": { uid: 0, mode: 0o140600 } })).verdict).toBe("broken");
  });

  it("answer nobody else", () => {
    const judge = judgeOf(probes, "agent/ops/tool-sockets");
    expect(judge([failed("ENOENT"), failed("ENOENT"), failed("EACCES")]).verdict).toBe("held");
    expect(judge([failed("ENOENT"), failed("ENOENT"), done()]).verdict).toBe("broken");
  });
});

it("an offline server that reaches anything is broken", () => {
  const judge = judgeOf(probes, "mcp/files/network");
  const none = Array.from({ length: 6 }, () => failed("EAFNOSUPPORT"));
  expect(judge(none).verdict).toBe("held");
  expect(judge([...none.slice(0, 5), done()]).verdict).toBe("broken");
});
