// Starts OpenClaw from an unpacked component beside a scripted model, asks it once, and prints what happened as JSON.
// Run by the bundled Node.js in a network namespace of its own with nothing but loopback:
//   node openclaw-smoke.ts <component> <empty folder> <uid>
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chownSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const [component = "", folder = "", user = ""] = process.argv.slice(2);
const uid = Number(user);
const MODEL_PORT = 4999;
const PORT = 18789;
const READY_WITHIN_MS = 300_000;
const REPLY = "the scripted model says 42";
const token = randomBytes(24).toString("hex");
const modelKey = randomBytes(24).toString("hex");

interface ModelCall {
  readonly path: string;
  readonly authorized: boolean;
  readonly model: unknown;
  readonly stream: unknown;
  readonly tools: number;
}

const calls: ModelCall[] = [];
const model = createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = JSON.parse(Buffer.concat(chunks).toString() || "{}") as {
    model?: unknown;
    stream?: unknown;
    tools?: unknown[];
  };
  calls.push({
    path: request.url ?? "",
    authorized: request.headers.authorization === `Bearer ${modelKey}`,
    model: body.model,
    stream: body.stream,
    tools: body.tools?.length ?? 0,
  });
  if (request.url === "/v1/chat/completions" && body.stream === true) streamReply(response, String(body.model));
  else response.writeHead(404).end();
});

function streamReply(response: ServerResponse, id: string): void {
  const head = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1_700_000_000, model: id };
  const send = (chunk: object) => response.write(`data: ${JSON.stringify({ ...head, ...chunk })}\n\n`);
  response.writeHead(200, { "content-type": "text/event-stream" });
  send({ choices: [{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: null }] });
  for (const word of REPLY.split(/(?<= )/))
    send({ choices: [{ index: 0, delta: { content: word }, finish_reason: null }] });
  send({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] });
  send({ choices: [], usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 } });
  response.end("data: [DONE]\n\n");
}

function makeFolder(name: string): string {
  const path = join(folder, name);
  mkdirSync(path, { mode: 0o700 });
  chownSync(path, uid, uid);
  return path;
}

function secretFile(name: string, text: string): string {
  const path = join(makeFolder(name), "value");
  writeFileSync(path, text, { mode: 0o400 });
  chownSync(path, uid, uid);
  return path;
}

const state = makeFolder("state");
const home = makeFolder("home");
const temporary = makeFolder("tmp");
const workspace = makeFolder("workspace");
const fileSecret = (provider: string) => ({ source: "file", provider, id: "value" });
const config = {
  gateway: {
    mode: "local",
    port: PORT,
    bind: "loopback",
    auth: { mode: "token", token: fileSecret("gwtoken") },
    controlUi: { enabled: false },
    terminal: { enabled: false },
    nodes: { pairing: { sshVerify: false } },
    http: { endpoints: { chatCompletions: { enabled: true } } },
  },
  update: { checkOnStart: false, auto: { enabled: false } },
  telemetry: { enabled: false },
  discovery: { mdns: { mode: "off" } },
  models: {
    mode: "replace",
    catalogRefresh: { enabled: false },
    providers: {
      gw: {
        baseUrl: `http://127.0.0.1:${MODEL_PORT}/v1`,
        api: "openai-completions",
        apiKey: fileSecret("modelkey"),
        models: [
          {
            id: "scripted",
            name: "Scripted",
            reasoning: false,
            input: ["text"],
            contextWindow: 128000,
            maxTokens: 4096,
            cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 },
          },
        ],
      },
    },
  },
  secrets: {
    providers: {
      modelkey: { source: "file", path: secretFile("model-key", modelKey), mode: "singleValue" },
      gwtoken: { source: "file", path: secretFile("gateway-token", token), mode: "singleValue" },
    },
  },
  plugins: { allow: ["memory-core"], slots: { memory: "none" } },
  agents: {
    defaults: {
      heartbeat: { every: "0m" },
      skipBootstrap: true,
      workspace,
      model: { primary: "gw/scripted" },
      modelPolicy: { allow: ["gw/*"] },
      sandbox: { mode: "off" },
    },
  },
  session: { dmScope: "per-channel-peer" },
  tools: {
    profile: "coding",
    toolSearch: false,
    fs: { workspaceOnly: true },
    deny: ["group:runtime", "group:automation", "group:ui", "group:nodes", "group:media", "sessions_spawn"],
    exec: { security: "deny", ask: "always" },
    elevated: { enabled: false },
    sessions: { visibility: "agent" },
    agentToAgent: { enabled: false },
  },
  logging: { level: "info", consoleStyle: "json", file: join(state, "gateway.log") },
};
const configFile = join(makeFolder("config"), "openclaw.json");
writeFileSync(configFile, JSON.stringify(config), { mode: 0o400 });
chownSync(configFile, uid, uid);

await new Promise<void>((listening) => model.listen(MODEL_PORT, "127.0.0.1", listening));
const started = Date.now();
const gateway = spawn(process.execPath, [join(component, "node_modules/openclaw/openclaw.mjs"), "gateway", "run"], {
  cwd: workspace,
  uid,
  gid: uid,
  stdio: ["ignore", "pipe", "pipe"],
  env: {
    OPENCLAW_CONFIG_PATH: configFile,
    OPENCLAW_CONFIG_READONLY: "1",
    OPENCLAW_STATE_DIR: state,
    HOME: home,
    TMPDIR: temporary,
    PATH: "/usr/bin:/bin",
    OPENCLAW_NO_AUTO_UPDATE: "1",
    OPENCLAW_OFFLINE: "1",
    DO_NOT_TRACK: "1",
    OPENCLAW_DISABLE_BONJOUR: "1",
    OPENCLAW_NO_RESPAWN: "1",
    NODE_OPTIONS: "--max-old-space-size=512",
  },
});
let log = "";
for (const stream of [gateway.stdout, gateway.stderr])
  stream.setEncoding("utf8").on("data", (text: string) => {
    log = (log + text).slice(-20_000);
  });
const exited = new Promise<number | null>((done) => gateway.on("close", done));

async function statusOf(path: string, init?: RequestInit): Promise<{ status: number; text: string }> {
  const response = await fetch(`http://127.0.0.1:${PORT}${path}`, init);
  return { status: response.status, text: await response.text() };
}

function ask(bearer: string): Promise<{ status: number; text: string }> {
  return statusOf("/v1/chat/completions", {
    method: "POST",
    headers: { authorization: `Bearer ${bearer}`, "content-type": "application/json" },
    body: JSON.stringify({ model: "openclaw/default", messages: [{ role: "user", content: "say hello" }] }),
  });
}

try {
  for (;;) {
    const status = await statusOf("/readyz").then(
      (answer) => answer.status,
      () => 0,
    );
    if (status === 200) break;
    if (gateway.exitCode !== null) throw new Error(`gateway ended with ${gateway.exitCode} before it was ready`);
    if (Date.now() - started > READY_WITHIN_MS) throw new Error(`not ready within ${READY_WITHIN_MS} ms`);
    await sleep(250);
  }
  const readyMs = Date.now() - started;
  const refused = await ask("wrong");
  const asked = Date.now();
  const answer = await ask(token);
  const askMs = Date.now() - asked;
  gateway.kill("SIGTERM");
  const exit = await exited;
  console.log(JSON.stringify({ readyMs, askMs, refused: refused.status, answer, calls, exit, log }));
} catch (error) {
  console.log(JSON.stringify({ error: String(error), log }));
  process.exitCode = 1;
} finally {
  if (gateway.exitCode === null) gateway.kill("SIGKILL");
  await exited;
  model.close();
}
