import { NO_BUDGET, NO_LIMITS } from "../../../../runtime/policy/models/schema.ts";
import type { ReleaseInput } from "../../../../runtime/release/render/input.ts";
import { requiredComponents, requiredCredentials } from "../../../../runtime/release/render/requirements.ts";
import { sha256 } from "../../../../runtime/spec/digest.ts";
import { type HostSpec, parseHostSpec } from "../../../../runtime/spec/host-spec.ts";
import { principalUid } from "../../../../runtime/spec/names.ts";

const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJGUZ1GKdyV0jnEaGUpm1PGSZ1dNlfZ01uWwEXAMPLEk ada";

/** A model server of the operator's own. */
export const SERVICE = {
  source: "examples/local-model/server",
  argv: ["./llama-server", "--port", "{port}"],
  env: { LLAMA_PORT: "{port}", THREADS: "2" },
  health: "/health",
  memoryMiB: 4096,
};

/** A host with one of everything: an OpenClaw agent, a command agent, remote and demo models, names, workspaces. */
export function sampleSpec(change: (spec: HostSpec) => void = () => {}): HostSpec {
  const spec: HostSpec = {
    apiVersion: "bailiwick/v1",
    name: "sample",
    os: "debian-13",
    baseline: "0".repeat(64),
    machine: { kind: "local", engine: "nspawn", memoryMiB: 2048, cpus: 2, rootGiB: 4, dataGiB: 4 },
    access: {
      bootstrapAdmin: "ada",
      admins: { ada: { uid: 1000, publicKey: KEY }, bob: { uid: 1001, publicKey: KEY.replace(" ada", "") } },
      from: ["203.0.113.7/32", "203.0.113.0/24", "2001:db8:7::/48"],
    },
    secrets: {
      "anthropic-key": { source: { kind: "env", variable: "ANTHROPIC_API_KEY" } },
      unused: { source: { kind: "env", variable: "UNUSED" } },
    },
    models: {
      claude: {
        provider: "anthropic",
        url: "https://api.provider.test",
        apiKey: "anthropic-key",
        uid: null,
        prices: {},
        budget: NO_BUDGET,
        fallback: null,
      },
      demo: {
        provider: "demo",
        url: null,
        apiKey: null,
        uid: principalUid("model/demo"),
        prices: {},
        budget: NO_BUDGET,
        fallback: null,
      },
      idle: {
        provider: "openai",
        url: "https://api.idle.test",
        apiKey: "unused",
        uid: null,
        prices: {},
        budget: NO_BUDGET,
        fallback: null,
      },
    },
    agents: {
      ops: {
        uid: principalUid("agent/ops"),
        runtime: { kind: "openclaw", version: "2026.9.6", model: null },
        budget: NO_BUDGET,
      },
      "web-hook": {
        uid: principalUid("agent/web-hook"),
        runtime: {
          kind: "command",
          source: "examples/daemon",
          argv: ["node", "server.mjs", "--motto=50% of $HOME", 'say "hi"'],
          env: { GREETING: "hello there", BAILIWICK_PORT: "1" },
          health: "/healthz",
          ask: null,
        },
        budget: NO_BUDGET,
      },
    },
    workspaces: { repo: {}, docs: {} },
    grants: {
      invoke: [
        {
          agent: "ops",
          model: "claude",
          models: ["claude-sonnet-4-6", "claude-haiku-4-5"],
          budget: NO_BUDGET,
          limits: NO_LIMITS,
        },
        { agent: "ops", model: "demo", models: ["demo-1"], budget: NO_BUDGET, limits: NO_LIMITS },
        { agent: "web-hook", model: "demo", models: ["demo-1"], budget: NO_BUDGET, limits: NO_LIMITS },
      ],
      mount: [
        { agent: "ops", workspace: "repo", mode: "rw" },
        { agent: "ops", workspace: "docs", mode: "ro" },
        { agent: "web-hook", workspace: "docs", mode: "rw" },
      ],
      egress: [
        { principal: "agent/ops", name: "news.test" },
        { principal: "agent/ops", name: "rebind.test" },
        { principal: "gateway", name: "status.provider.test" },
      ],
      connect: [],
    },
    budget: { timeZone: "UTC", ...NO_BUDGET },
    timeouts: { baselineSeconds: 300, healthSeconds: 180, confirmSeconds: 60, drainSeconds: 10 },
    keepReleases: 3,
  };
  change(spec);
  return parseHostSpec(spec);
}

/** Everything the spec needs, with digests, versions and hashes made from the names. */
export function sampleInput(spec: HostSpec = sampleSpec()): ReleaseInput {
  const { secrets, generated } = requiredCredentials(spec);
  return {
    spec,
    kitVersion: "0.1.0",
    components: Object.fromEntries(requiredComponents(spec).map((name) => [name, sha256(name)])),
    credentials: Object.fromEntries(secrets.map((name) => [`secret.${name}`, sha256(`secret.${name}`).slice(0, 32)])),
    generated: Object.fromEntries(
      generated.map((name) => [name, { version: sha256(name).slice(0, 32), sha256: sha256(`text of ${name}`) }]),
    ),
    resolvers: ["198.51.100.53", "2001:db8::53"],
    ipv6Only: false,
    emulated: false,
  };
}
