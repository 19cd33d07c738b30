import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { App } from "cdktf";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { NO_BUDGET, NO_LIMITS } from "../../runtime/policy/models/schema.ts";
import type { HostSpec } from "../../runtime/spec/host-spec.ts";
import { LocalStack } from "../../stacks/local.ts";

describe("the local stack", () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "bailiwick-local-stack-"));
    vi.stubEnv("XDG_CONFIG_HOME", folder);
    for (const variable of VARIABLES) vi.stubEnv(variable, "");
  });

  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true });
  });

  function synthesise(): { spec: HostSpec; terraform: string } {
    const app = new App({ outdir: join(folder, "out") });
    new LocalStack(app, "local");
    app.synth();
    const stack = join(folder, "out", "stacks", "local");
    const spec = JSON.parse(readFileSync(join(stack, "bailiwick", "local.json"), "utf8")) as HostSpec;
    return { spec, terraform: readFileSync(join(stack, "cdk.tf.json"), "utf8") };
  }

  it("synthesises with nothing configured, on the demo model", () => {
    const { spec, terraform } = synthesise();
    expect(spec.models).toMatchObject({ demo: { provider: "demo" } });
    expect(spec.grants).toEqual({
      invoke: [{ agent: "main", model: "demo", models: ["demo"], budget: NO_BUDGET, limits: NO_LIMITS }],
      mount: [{ agent: "main", workspace: "notes", mode: "rw" }],
      egress: [],
      connect: [],
    });
    expect(spec.access.from).toEqual(["127.0.0.1/32"]);
    expect(missing(terraform)).toBe("");
  });

  it.each([
    ["ANTHROPIC_API_KEY", "claude", "claude-sonnet-4-6", "anthropic-api-key"],
    ["OPENAI_API_KEY", "openai", "gpt-5.6", "openai-api-key"],
  ])(
    "takes the real provider when %s is set, puts it into a virtual machine, and writes no key",
    (variable, name, model, secret) => {
      vi.stubEnv(variable, "sk-canary-of-this-test");
      const { spec, terraform } = synthesise();
      expect(spec.grants.invoke).toEqual([
        { agent: "main", model: name, models: [model], budget: NO_BUDGET, limits: NO_LIMITS },
      ]);
      expect(spec.secrets).toEqual({ [secret]: { source: { kind: "env", variable } } });
      expect(missing(terraform)).toBe("");
      expect(JSON.stringify(spec) + terraform).not.toContain("sk-canary-of-this-test");
      expect(spec.machine).toMatchObject({ engine: "qemu" });
      vi.stubEnv("BAILIWICK_LOCAL_ENGINE", "nspawn");
      expect(synthesise().spec.machine).toMatchObject({ engine: "nspawn" });
      vi.stubEnv("BAILIWICK_LOCAL_ENGINE", "docker");
      expect(missing(synthesise().terraform)).toContain('BAILIWICK_LOCAL_ENGINE holds "docker"');
    },
  );

  it("takes another model id from the environment", () => {
    vi.stubEnv("ANTHROPIC_API_KEY", "x");
    vi.stubEnv("BAILIWICK_MODEL", "claude-haiku-4-5");
    expect(synthesise().spec.grants.invoke[0]?.models).toEqual(["claude-haiku-4-5"]);
  });
});

const VARIABLES = [
  "ANTHROPIC_API_KEY",
  "OPENAI_API_KEY",
  "BAILIWICK_MODEL",
  "BAILIWICK_LOCAL_ENGINE",
  "BAILIWICK_ADMIN_KEY",
];

/** What the plan would fail with. */
function missing(terraform: string): string {
  const [text] = Object.values<string>(JSON.parse(terraform).locals);
  return text ?? "";
}
