// Node.js loads this before OpenClaw on a machine that is emulated, and on no other. OpenClaw ends unless a worker of its own
// is up within 5 s, which no setting changes and such a machine does not manage. The bound is another one in what is loaded;
// the files stay as they are.
import { existsSync, readdirSync, writeSync } from "node:fs";
import { registerHooks, syncBuiltinESMExports } from "node:module";
import { dirname, join } from "node:path";
import threads, { isMainThread } from "node:worker_threads";

const FROM = "const LEASE_HEARTBEAT_START_TIMEOUT_MS = 5e3;";
const TO = "const LEASE_HEARTBEAT_START_TIMEOUT_MS = 12e4;";
const SHARED = /\/dist\/openclaw-state-lease-heartbeat-shared-[^/]+\.mjs$/;
/** Has a copy of the bound, by which it ends itself. */
const WORKER = /\/dist\/state\/openclaw-state-lease-heartbeat\.worker\.js$/;

/** To the descriptor: OpenClaw drops what that worker writes to its own stream. `<3>` is an error to journald. */
const warn = (what) => writeSync(2, `<3>bailiwick: ${what}; OpenClaw may end within seconds of its start here\n`);

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    if (!SHARED.test(url) && !WORKER.test(url)) return loaded;
    const parts = Buffer.from(loaded.source).toString().split(FROM);
    if (parts.length === 2) return { ...loaded, source: parts.join(TO) };
    warn(`${url} has "${FROM}" ${parts.length - 1} times, not once`);
    return loaded;
  },
});

// it is started with neither arguments nor an environment, so this has to be handed on
const { Worker } = threads;
threads.Worker = class extends Worker {
  constructor(script, options = {}) {
    const execArgv = ["--import", import.meta.url, ...(options.execArgv ?? [])];
    super(script, WORKER.test(script) ? { ...options, execArgv } : options);
  }
};
syncBuiltinESMExports();

if (isMainThread && process.argv[1]?.endsWith("/openclaw.mjs")) {
  const dist = join(dirname(process.argv[1]), "dist");
  const files = existsSync(dist) ? readdirSync(dist, { recursive: true }) : [];
  for (const file of [SHARED, WORKER])
    if (!files.some((name) => file.test(`/dist/${name}`))) warn(`${dist} has no file ${file.source}`);
}
