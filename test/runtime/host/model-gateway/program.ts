import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildSync } from "esbuild";
import { afterAll } from "vitest";
import { type GatewayConfig, type ModelPrice, NO_LIMITS } from "../../../../runtime/policy/models/schema.ts";
import { sha256 } from "../../../../runtime/spec/digest.ts";

// The gateway as it runs on a host: one bundled file, a process of its own, under the Node that runs the tests.

export const PROVIDER_KEY = "sk-canary-provider-0123456789abcdef";
/** 1 nanodollar a byte of input at most, 10 a token of output. */
export const PRICE: ModelPrice = {
  ...{ input: 0.001, output: 0.01, cacheRead: 0.0001, cacheWrite: 0.001, cacheWrite1h: 0.002 },
  ...{ above: null, contextTokens: 200_000 },
};

export const KEYS = { ops: "bw-canary-virtual-ops", docs: "bw-canary-virtual-docs" } as const;

const folder = mkdtempSync(join(tmpdir(), "bailiwick-gateway-test-"));
const bundle = join(folder, "gateway.cjs");
buildSync({
  entryPoints: ["runtime/host/model-gateway/main.ts"],
  outfile: bundle,
  bundle: true,
  platform: "node",
  target: "node20",
  format: "cjs",
  logLevel: "error",
});

const running = new Set<ChildProcess>();
afterAll(() => {
  for (const child of running) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

type Route = GatewayConfig["routes"][number];

/** A configuration with a route per provider kind, all to one upstream; agent ops is granted all of them, docs only `gpt`. */
export function configFor(upstream: string, change: Partial<GatewayConfig> = {}): GatewayConfig {
  const route = (name: string, provider: Route["provider"], models: string[], agents: string[]): Route => ({
    name,
    provider,
    upstream,
    credential: provider === "demo" ? null : "provider-key",
    grants: agents.map((agent) => ({ agent, models, limits: NO_LIMITS })),
    fallback: null,
    logContent: false,
    prices: Object.fromEntries(models.map((model) => [model, PRICE])),
  });
  return {
    listen: { host: "127.0.0.1", port: 0, adminPort: 0 },
    keys: [
      { agent: "ops", sha256: [sha256(KEYS.ops)] },
      { agent: "docs", sha256: [sha256(KEYS.docs), sha256("bw-second-key-docs")] },
    ],
    routes: [
      route("claude", "anthropic", ["claude-sonnet-4-6"], ["ops"]),
      route("gpt", "openai", ["gpt-5.6", "gpt-5.6-mini"], ["ops", "docs"]),
      route("local", "openai-compatible", ["qwen"], ["ops"]),
      route("demo", "demo", ["demo"], ["ops"]),
      route("gemini", "google", ["gemini-3-pro"], ["ops"]),
      route("router", "openrouter", ["vendor/model-1"], ["ops"]),
    ],
    budgets: { timeZone: "UTC", ledger: ":memory:", maxOutputTokens: 1000, caps: [] },
    limits: { bodyBytes: 256 * 1024, bufferedBytes: 64 * 1024 * 1024, headerTimeoutMs: 20_000, idleTimeoutMs: 20_000 },
    ...change,
  };
}

export interface RunningGateway {
  readonly port: number;
  readonly adminPort: number;
  readonly pid: number;
  /** Everything on stdout and stderr so far. */
  output(): string;
  /** The lines of the log so far. */
  lines(): Record<string, unknown>[];
  /** The log line of the call with this request id, once it is there. */
  call(requestId: string | undefined): Promise<Record<string, unknown>>;
  configure(config: unknown): void;
  /** Replaces the provider's key. */
  setKey(key: string): void;
  signal(name: NodeJS.Signals): void;
  readonly exited: Promise<number | null>;
}

export interface StartOptions {
  readonly env?: Record<string, string>;
  readonly nodeArgs?: string[];
  readonly key?: string;
  /** Arguments that stand before the configuration, and behind it. */
  readonly before?: string[];
  /** The Node.js that runs it; default: the one that runs the tests. */
  readonly node?: string;
  readonly behind?: string[];
}

/** A new process with this configuration, not waited for. */
export function launch(config: unknown, options: StartOptions = {}) {
  const { env = {}, nodeArgs = [], key = PROVIDER_KEY, before = [], behind = [], node = process.execPath } = options;
  const home = mkdtempSync(join(folder, "run-"));
  const file = join(home, "gateway.json");
  const configure = (value: unknown) => writeFileSync(file, typeof value === "string" ? value : JSON.stringify(value));
  configure(config);
  mkdirSync(join(home, "credentials"));
  const setKey = (value: string) => writeFileSync(join(home, "credentials", "provider-key"), `${value}\n`);
  setKey(key);
  const child = spawn(node, [...nodeArgs, bundle, ...before, file, ...behind], {
    env: { CREDENTIALS_DIRECTORY: join(home, "credentials"), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  let output = "";
  child.stdout.on("data", (chunk) => {
    output += chunk;
  });
  child.stderr.on("data", (chunk) => {
    output += chunk;
  });
  const exited = once(child, "close").then(([code]) => {
    running.delete(child);
    return code as number | null;
  });
  return { child, configure, setKey, output: () => output, exited };
}

/** A gateway that serves. */
export async function startGateway(config: unknown, options: StartOptions = {}): Promise<RunningGateway> {
  const { child, configure, setKey, output, exited } = launch(config, options);
  const lines = () =>
    output()
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const started = () => lines().find((line) => line.msg === "started");
  await Promise.race([until(() => started() !== undefined, "the gateway to start"), exited]);
  const line = started();
  if (line === undefined) throw new Error(`the gateway did not start: ${output()}`);
  return {
    port: Number(line.port),
    adminPort: Number(line.adminPort),
    pid: child.pid ?? 0,
    output,
    lines,
    configure,
    setKey,
    exited,
    signal: (name) => child.kill(name),
    call: async (requestId) => {
      const found = () => lines().find((l) => l.msg === "call" && l.requestId === requestId);
      await until(() => found() !== undefined, `the log line of call ${requestId}`);
      return found() ?? {};
    },
  };
}

/** Waits until the condition holds, at most 10 s. */
export async function until(condition: () => boolean, what: string, ms = 10_000): Promise<void> {
  const end = Date.now() + ms;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited ${ms} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
