// Loaded before OpenClaw: the worker that renews its lease begins six seconds late, one more than OpenClaw gives it.
import { syncBuiltinESMExports } from "node:module";
import threads from "node:worker_threads";

const LATE = "data:text/javascript,Atomics.wait(new Int32Array(new SharedArrayBuffer(4)),0,0,6000)";
const { Worker } = threads;
threads.Worker = class extends Worker {
  constructor(script, options = {}) {
    const late = String(script).endsWith("/openclaw-state-lease-heartbeat.worker.js");
    super(script, late ? { ...options, execArgv: ["--import", LATE, ...(options.execArgv ?? [])] } : options);
  }
};
syncBuiltinESMExports();
