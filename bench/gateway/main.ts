// What the model gateway costs, with everything on (keys, budgets, limits, logs, metrics), beside no proxy, the least that a
// proxy on the same libraries can do, and two peers. Interleaved rounds of one run; nothing else should run on the machine.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { nodeBinary } from "../../runtime/bundle/node.ts";
import { GATEWAY_LIMITS, type GatewayConfig } from "../../runtime/policy/models/schema.ts";
import { GATEWAY_HEAP } from "../../runtime/release/render/units.ts";
import { sha256 } from "../../runtime/spec/digest.ts";
import { Results } from "../results.ts";
import { load, type Round, type Target } from "./load.ts";
import { peers } from "./peers.ts";
import { type Program, start } from "./program.ts";

const ROUNDS = 5;
const SECONDS = 1;
const CONNECTIONS = [1, 32, 128];
const KEY = "bw-key-of-the-benchmark";

let started = 0;
const here = import.meta.dirname;
const folder = mkdtempSync(join(tmpdir(), "bailiwick-bench-gateway-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
const results = new Results("gateway");
const node = await nodeBinary();

const script = join(folder, "model-gateway.mjs");
await build({
  entryPoints: ["runtime/host/model-gateway/main.ts"],
  outfile: script,
  ...{ bundle: true, platform: "node", target: "node24", format: "esm" },
  banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
});

const upstream = await start([node, join(here, "upstream.mjs")]);
const origin = `http://127.0.0.1:${upstream.port}`;
const plain = (program: Program): Target => ({ program, path: "/v1/chat/completions", headers: {} });
const targets: Record<string, Target> = {
  direct: plain(upstream),
  floor: plain(await start([node, join(here, "floor.mjs"), origin])),
  gateway: {
    program: await startGateway(),
    path: "/gpt/v1/chat/completions",
    headers: { authorization: `Bearer ${KEY}` },
  },
  ...(await peers(folder, origin, (ratio, reason) => results.note(ratio, reason))),
};

const rounds = new Map<string, Round[]>();
for (let i = 0; i < ROUNDS; i++)
  for (const stream of [false, true])
    for (const connections of CONNECTIONS)
      for (const [name, target] of Object.entries(targets)) {
        const key = `${name}_${stream ? "stream_" : ""}${connections}`;
        const round = await load(target, connections, stream, SECONDS);
        rounds.set(key, [...(rounds.get(key) ?? []), round]);
      }

const figures: Record<string, number> = {};
for (const [key, all] of rounds) {
  const figure = (what: string, read: (round: Round) => number, unit: string) => {
    figures[`${key}_${what}`] = results.figure(`${key}_${what}`, all.map(read), unit);
  };
  figure("cpu", ({ cpuUs }) => cpuUs, "us");
  figure("p50", ({ totalMs }) => totalMs, "ms");
  if (key.includes("stream")) figure("first_byte", ({ firstByteMs }) => firstByteMs, "ms");
}
// the highest of any round: what the machine must have
const resident = Math.max(...(rounds.get("gateway_stream_128") ?? []).map(({ residentMb }) => residentMb));
const figure = (name: string) => figures[name] ?? Number.NaN;
const added = (name: string) => figure(`${name}_1_p50`) - figure("direct_1_p50");

results.ratio("cpu_vs_floor", figure("gateway_32_cpu") / figure("floor_32_cpu"), "<=", 2, "x");
results.ratio("stream_cpu_vs_floor", figure("gateway_stream_32_cpu") / figure("floor_stream_32_cpu"), "<=", 1.5, "x");
results.ratio("added_p50_vs_floor", added("gateway") / added("floor"), "<=", 2, "x");
if (targets.portkey !== undefined)
  results.ratio("cpu_vs_portkey", figure("gateway_32_cpu") / figure("portkey_32_cpu"), "<=", 0.25, "x");
if (targets.litellm !== undefined)
  results.ratio("cpu_vs_litellm", figure("gateway_32_cpu") / figure("litellm_32_cpu"), "<=", 0.1, "x");
const firstByte = figure("gateway_stream_1_first_byte") - figure("direct_stream_1_first_byte");
results.ratio("first_byte_added_ms", firstByte, "<=", 1.5, "ms");
results.ratio("resident_mb_128_streams", resident, "<=", 150, "MB");
await readiness();
results.write();
process.exit(0);

function configuration(): GatewayConfig {
  const model = "gpt-5.6";
  const rates = { input: 4, output: 20, cacheRead: 0.4, cacheWrite: 5, cacheWrite1h: 5 };
  const budget = { usdPerDay: 100_000, usdPerMonth: 1_000_000 };
  return {
    listen: { host: "127.0.0.1", port: 0, adminPort: 0 },
    keys: [{ agent: "ops", sha256: [sha256(KEY)] }],
    routes: [
      {
        ...{ name: "gpt", provider: "openai", upstream: origin, credential: "key", fallback: null, logContent: false },
        grants: [
          {
            ...{ agent: "ops", models: [model] },
            limits: { requestsPerMinute: 100_000, tokensPerMinute: 1_000_000_000, concurrentCalls: 1000 },
          },
        ],
        prices: { [model]: { ...rates, above: null, contextTokens: 1_000_000 } },
      },
    ],
    budgets: {
      ...{ timeZone: "Europe/Berlin", ledger: join(folder, `ledger-${started++}.db`), maxOutputTokens: 16_384 },
      caps: ["host", "agent/ops", "grant/ops/gpt"].map((scope) => ({ scope, ...budget })),
    },
    limits: { ...GATEWAY_LIMITS },
  };
}

async function startGateway(): Promise<Program> {
  const file = join(folder, "gateway.json");
  writeFileSync(file, JSON.stringify(configuration()));
  const credentials = join(folder, "credentials");
  mkdirSync(credentials, { recursive: true });
  writeFileSync(join(credentials, "key"), "key-of-the-provider\n");
  return start([node, ...GATEWAY_HEAP, "--use-system-ca", script, file], {
    env: { CREDENTIALS_DIRECTORY: credentials },
    listens: (output) => {
      const port = /"port":(\d+),"adminPort".*"msg":"started"/.exec(output)?.[1];
      return port === undefined ? undefined : Number(port);
    },
  });
}

/** From the start of the process until it serves, each several times and in turn. */
async function readiness(): Promise<void> {
  const [gateway, empty]: [number[], number[]] = [[], []];
  for (let i = 0; i < 9; i++) {
    const one = await start([node, join(here, "empty.mjs")]);
    empty.push(one.readyMs);
    await one.stop();
    const other = await startGateway();
    gateway.push(other.readyMs);
    await other.stop();
  }
  const ready = results.figure("gateway_ready", gateway, "ms") / results.figure("empty_ready", empty, "ms");
  results.ratio("ready_vs_node_start", ready, "<=", 2.5, "x");
}
