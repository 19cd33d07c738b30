// Starts OpenClaw from an unpacked component beside a scripted model, asks it once, and prints what happened as JSON.
// Run by the bundled Node.js in a network namespace of its own with nothing but loopback:
//   node openclaw-smoke.ts <component> <empty folder> <uid> [<wire format> <the model gateway's program>]
// With these the model is a provider that is reached through the gateway, under a budget. OPENCLAW_NODE_OPTIONS are more of
// Node.js' options for OpenClaw.
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { chownSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const [component = "", folder = "", user = "", format = "openai", gatewayProgram] = process.argv.slice(2);
const uid = Number(user);
const MODEL_PORT = 4999;
const PORT = 18789;
const READY_WITHIN_MS = 300_000;
const REPLY = "the scripted model says 42";
const token = randomBytes(24).toString("hex");
const modelKey = randomBytes(24).toString("hex");
const providerKey = gatewayProgram === undefined ? modelKey : randomBytes(24).toString("hex");
const GATEWAY_PORT = 4000;
const FORMATS: Readonly<Record<string, { api: string; base: string; provider: string }>> = {
  openai: { api: "openai-completions", base: "/v1", provider: "openai" },
  anthropic: { api: "anthropic-messages", base: "", provider: "anthropic" },
  google: { api: "google-generative-ai", base: "/v1beta", provider: "google" },
};
const spoken = FORMATS[format];
if (spoken === undefined) throw new Error(`received format "${format}"; there are ${Object.keys(FORMATS).join(", ")}`);

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
    authorized: presented(request.headers) === providerKey,
    model: body.model,
    stream: body.stream,
    tools: body.tools?.length ?? 0,
  });
  if (request.url === "/v1/chat/completions" && body.stream === true) streamReply(response, String(body.model));
  else if (request.url === "/v1/messages" && body.stream === true) streamMessages(response, String(body.model));
  else if (request.url === "/v1beta/models/scripted:streamGenerateContent?alt=sse") streamContent(response);
  else response.writeHead(404).end();
});

function presented({ authorization, ...headers }: IncomingHttpHeaders): string | undefined {
  const key = authorization?.replace(/^Bearer /, "") ?? headers["x-api-key"] ?? headers["x-goog-api-key"];
  return typeof key === "string" ? key : undefined;
}

/** As Anthropic streams. */
function streamMessages(response: ServerResponse, id: string): void {
  const send = (type: string, more: object) =>
    response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...more })}\n\n`);
  response.writeHead(200, { "content-type": "text/event-stream" });
  const usage = { input_tokens: 10, output_tokens: 1 };
  const message = { id: "msg_1", type: "message", role: "assistant", content: [], model: id, usage };
  send("message_start", { message });
  send("content_block_start", { index: 0, content_block: { type: "text", text: "" } });
  for (const text of REPLY.split(/(?<= )/))
    send("content_block_delta", { index: 0, delta: { type: "text_delta", text } });
  send("content_block_stop", { index: 0 });
  send("message_delta", { delta: { stop_reason: "end_turn" }, usage: { output_tokens: 5 } });
  send("message_stop", {});
  response.end();
}

/** As Google streams with alt=sse. */
function streamContent(response: ServerResponse): void {
  response.writeHead(200, { "content-type": "text/event-stream" });
  const words = REPLY.split(/(?<= )/);
  for (const [i, text] of words.entries()) {
    const end = i === words.length - 1 ? { finishReason: "STOP" } : {};
    const candidates = [{ index: 0, content: { role: "model", parts: [{ text }] }, ...end }];
    const usageMetadata = { promptTokenCount: 10, candidatesTokenCount: i + 1, totalTokenCount: 11 + i };
    response.write(`data: ${JSON.stringify({ candidates, usageMetadata })}\n\n`);
  }
  response.end();
}

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
        baseUrl: `http://127.0.0.1:${gatewayProgram === undefined ? MODEL_PORT : `${GATEWAY_PORT}/gw`}${spoken.base}`,
        api: spoken.api,
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
const modelGateway = gatewayProgram === undefined ? undefined : await startModelGateway(gatewayProgram);
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
    NODE_OPTIONS: `--max-old-space-size=512 ${process.env.OPENCLAW_NODE_OPTIONS ?? ""}`,
  },
});
let log = "";
for (const stream of [gateway.stdout, gateway.stderr])
  stream.setEncoding("utf8").on("data", (text: string) => {
    log = (log + text).slice(-20_000);
  });
const exited = new Promise<number | null>((done) => gateway.on("close", done));

/** The model gateway with one route in this format, one grant and one budget; told of all that it logs. */
async function startModelGateway(program: string) {
  const credentials = makeFolder("gateway-credentials");
  writeFileSync(join(credentials, "provider-key"), `${providerKey}\n`);
  const rates = { input: 1, output: 1, cacheRead: 1, cacheWrite: 1, cacheWrite1h: 1 };
  const limits = { requestsPerMinute: null, tokensPerMinute: null, concurrentCalls: null };
  const file = join(credentials, "gateway.json");
  const route = { name: "gw", provider: spoken?.provider, upstream: `http://127.0.0.1:${MODEL_PORT}` };
  const configuration = {
    listen: { host: "127.0.0.1", port: GATEWAY_PORT, adminPort: GATEWAY_PORT + 1 },
    keys: [{ agent: "main", sha256: [createHash("sha256").update(modelKey).digest("hex")] }],
    routes: [
      {
        ...{ ...route, credential: "provider-key", fallback: null, logContent: false },
        grants: [{ agent: "main", models: ["scripted"], limits }],
        prices: { scripted: { ...rates, above: null, contextTokens: 128_000 } },
      },
    ],
    budgets: {
      ...{ timeZone: "UTC", ledger: join(credentials, "ledger.db"), maxOutputTokens: 4096 },
      caps: [{ scope: "agent/main", usdPerDay: 10, usdPerMonth: null }],
    },
    limits: { bodyBytes: 8 << 20, bufferedBytes: 64 << 20, headerTimeoutMs: 20_000, idleTimeoutMs: 20_000 },
  };
  writeFileSync(file, JSON.stringify(configuration));
  const child = spawn(process.execPath, [program, file], {
    env: { CREDENTIALS_DIRECTORY: credentials },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let lines = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    lines += text;
  });
  while (!lines.includes('"msg":"started"')) {
    if (child.exitCode !== null) throw new Error(`the model gateway ended with ${child.exitCode}: ${lines}`);
    await sleep(50);
  }
  return {
    calls: () =>
      lines
        .split("\n")
        .filter((line) => line.includes('"msg":"call"'))
        .map((line) => JSON.parse(line) as unknown),
    stop: () => child.kill("SIGKILL"),
  };
}

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
  const logged = modelGateway?.calls() ?? [];
  console.log(JSON.stringify({ readyMs, askMs, refused: refused.status, answer, calls, logged, exit, log }));
} catch (error) {
  console.log(JSON.stringify({ error: String(error), log }));
  process.exitCode = 1;
} finally {
  if (gateway.exitCode === null) gateway.kill("SIGKILL");
  await exited;
  modelGateway?.stop();
  model.close();
}
