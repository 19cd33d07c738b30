// OpenClaw beside a scripted model, the guard, an agent's shell and servers of tools, in a network namespace of its own: asks
// OpenClaw once, whose model then wants one tool after the other. Prints what happened as JSON. Run by the bundled Node.js:
//   node openclaw-shell-run.ts <file of Setup>
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer as createHttp, type ServerResponse } from "node:http";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

interface Wanted {
  readonly name: string;
  readonly arguments: object;
}

/** What the test has prepared; paths are absolute. */
export interface Setup {
  /** A Node.js that the agent may run. */
  readonly node: string;
  readonly program: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly directory: string;
  readonly uid: number;
  readonly port: number;
  readonly token: string;
  readonly guard: { readonly bundle: string; readonly config: string };
  /** What the guard starts a session of at each socket. */
  readonly sessions: readonly { readonly socket: string; readonly argv: readonly string[] }[];
  /** The tools that the model wants, one after the other; then it has nothing more to say than "done". */
  readonly wanted: readonly Wanted[];
}

interface Message {
  readonly role: string;
  readonly content: unknown;
}

const setup = JSON.parse(readFileSync(process.argv[2] ?? "", "utf8")) as Setup;
const turns: { tools: string[]; said: unknown }[] = [];

const model = createHttp(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = JSON.parse(Buffer.concat(chunks).toString() || "{}") as {
    messages?: Message[];
    tools?: { function: { name: string } }[];
  };
  const wanted = setup.wanted[turns.length];
  turns.push({ tools: (body.tools ?? []).map((tool) => tool.function.name), said: body.messages?.at(-1) });
  reply(response, wanted);
});

function reply(response: ServerResponse, wanted: Wanted | undefined): void {
  const head = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1_700_000_000, model: "demo-1" };
  const send = (delta: object, finish: string | null) =>
    response.write(`data: ${JSON.stringify({ ...head, choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`);
  response.writeHead(200, { "content-type": "text/event-stream" });
  if (wanted === undefined) {
    send({ role: "assistant", content: "done" }, null);
    send({}, "stop");
  } else {
    const call = { name: wanted.name, arguments: JSON.stringify(wanted.arguments) };
    const id = `call_${turns.length}`;
    send({ role: "assistant", content: null, tool_calls: [{ index: 0, id, type: "function", function: call }] }, null);
    send({}, "tool_calls");
  }
  response.end("data: [DONE]\n\n");
}

await new Promise<void>((done) => model.listen(4000, "127.0.0.1", done));
const sessions = setup.sessions.map(({ socket: path, argv: [program = "", ...args] }) =>
  createServer((socket) => {
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
    socket.on("error", () => {});
    child.stdin.on("error", () => {});
    socket.pipe(child.stdin);
    child.stdout.pipe(socket);
  }).listen(path),
);
await Promise.all(sessions.map((server) => once(server, "listening")));
const guard = spawn(process.execPath, [setup.guard.bundle, setup.guard.config], {
  stdio: ["ignore", "pipe", "inherit"],
});
let guardLog = "";
guard.stdout.setEncoding("utf8").on("data", (text: string) => {
  guardLog += text;
});
const gateway = spawn(setup.node, [setup.program, "gateway", "run"], {
  cwd: setup.directory,
  uid: setup.uid,
  gid: setup.uid,
  stdio: ["ignore", "pipe", "pipe"],
  env: { ...setup.environment },
});
let log = "";
for (const stream of [gateway.stdout, gateway.stderr])
  stream.setEncoding("utf8").on("data", (text: string) => {
    log = (log + text).slice(-20_000);
  });
const exited = new Promise<void>((done) => gateway.on("close", () => done()));
const at = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${setup.port}${path}`, init);
try {
  const until = Date.now() + 300_000;
  for (;;) {
    const ready = await at("/readyz").then(
      ({ status }) => status === 200,
      () => false,
    );
    if (ready) break;
    if (gateway.exitCode !== null || Date.now() > until) throw new Error("OpenClaw did not become ready");
    await sleep(250);
  }
  const answer = await at("/v1/chat/completions", {
    method: "POST",
    headers: { authorization: `Bearer ${setup.token}`, "content-type": "application/json" },
    body: JSON.stringify({ model: "openclaw/default", messages: [{ role: "user", content: "do it" }] }),
  });
  console.log(JSON.stringify({ status: answer.status, text: await answer.text(), turns, guardLog, log }));
} catch (error) {
  console.log(JSON.stringify({ error: String(error), turns, guardLog, log }));
} finally {
  gateway.kill("SIGKILL");
  guard.kill("SIGTERM");
  await exited;
  for (const server of sessions) server.close();
  model.close();
  setTimeout(() => process.exit(0), 1000);
}
