import { describe, expect, it } from "vitest";
import { renderRelease } from "../../../../runtime/release/render/release.ts";
import { requiredCredentials } from "../../../../runtime/release/render/requirements.ts";
import { reportCredentials } from "../../../../runtime/release/secret-readers.ts";
import type { HostSpec } from "../../../../runtime/spec/host-spec.ts";
import { principalUid } from "../../../../runtime/spec/names.ts";
import { SERVICE, sampleInput } from "./sample.ts";
import { sampleWithTools } from "./sample-tools.ts";

const READERS = ["agent/web-hook", "mcp/files", "model/own"];
const spec = (change: (spec: HostSpec) => void = () => {}) =>
  sampleWithTools((host) => {
    host.secrets.team = { source: { kind: "env", variable: "TEAM_TOKEN" } };
    host.models.own = {
      ...{ provider: "openai-compatible", url: null, apiKey: null, uid: principalUid("model/own") },
      ...{ prices: {}, budget: { usdPerDay: null, usdPerMonth: null }, fallback: null, service: SERVICE },
    };
    host.grants.read = READERS.map((principal) => ({ secret: "team", principal }));
    change(host);
  });
const unitsOf = (host: HostSpec, version = "c".repeat(32)) => {
  const input = sampleInput(host);
  const { files } = renderRelease({ ...input, credentials: { ...input.credentials, "secret.team": version } });
  return new Map(files.filter(({ path }) => path.startsWith("units/")).map(({ path, content }) => [path, content]));
};

describe("a secret that was granted to read", () => {
  const units = unitsOf(spec());
  const SERVICES = ["agent-web-hook.service", "mcp-files@.service", "model-own.service"];

  it("is a sealed credential of its readers' units, and of no other; their probes have a dummy", () => {
    const having = (text: string) =>
      [...units].filter(([, content]) => content.includes(text)).map(([path]) => path.replace("units/bailiwick-", ""));
    expect(having("\nLoadCredentialEncrypted=secret.team:").sort()).toEqual(SERVICES);
    expect(having("\nSetCredential=secret.team:dummy").sort()).toEqual(
      SERVICES.map((name) => name.replace(/@?\.service/, "-probe@.service")),
    );
    expect(having("TEAM_TOKEN")).toEqual([]);
  });

  it("changes, when its value does, its readers' units and no other", () => {
    const other = unitsOf(spec(), "d".repeat(32));
    const changed = [...units].filter(([path, content]) => other.get(path) !== content).map(([path]) => path);
    // the socket is restarted with its service, of which each session is a process
    expect(changed.map((path) => path.replace("units/bailiwick-", "")).sort()).toEqual(
      [...SERVICES, "mcp-files.socket"].sort(),
    );
  });

  it("is asked for at push, and named with its readers by `secrets check`", async () => {
    expect(requiredCredentials(spec()).secrets).toContain("team");
    expect(requiredCredentials(spec((host) => delete host.grants.read)).secrets).not.toContain("team");
    process.env.TEAM_TOKEN = "canary-team-value";
    const report = (await reportCredentials(spec(), "/")).find(({ name }) => name === "secret.team");
    delete process.env.TEAM_TOKEN;
    expect(report).toEqual({
      name: "secret.team",
      source: "environment variable TEAM_TOKEN",
      here: { ok: true, reason: null },
      readers: ["bailiwick-model-own", "bailiwick-mcp-files", "bailiwick-agent-web-hook"],
    });
  });

  it.each<[string, (host: HostSpec) => void, string]>([
    ["no secret", (host) => delete host.secrets.team, 'grants.read[0].secret: received "team", which is no secret'],
    [
      "a stranger",
      (host) => (host.grants.read = [{ secret: "team", principal: "agent/nobody" }]),
      'grants.read[0].principal: received "nobody", which is no agent of this host',
    ],
    [
      "the gateway",
      (host) => (host.grants.read = [{ secret: "team", principal: "gateway" }]),
      'grants.read[0].principal: received "gateway"',
    ],
    [
      "one grant twice",
      (host) => host.grants.read?.push({ secret: "team", principal: "mcp/files" }),
      'grants.read[3]: secret "team" to "mcp/files" is granted twice',
    ],
    [
      "what a server has in its environment",
      (host) => host.grants.read?.push({ secret: "hub-token", principal: "mcp/hub" }),
      'grants.read[3].principal: received MCP server "hub", which has "hub-token" as HUB_TOKEN already; give it once',
    ],
  ])("is refused with %s", (_, change, message) => {
    expect(() => spec(change)).toThrow(message);
  });
});
