import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { setImmediate } from "node:timers/promises";
import { completion, completionEvents, DEMO_MODEL, usageOf } from "./completion.ts";
import { ChatRequest, plainText, userTexts } from "./conversation.ts";
import { reply } from "./reply.ts";

// The demo model: a scripted provider in OpenAI's format for hosts without a provider key. It says that it is one.
// Listens on 127.0.0.1:$BAILIWICK_PORT and keeps nothing between requests.

const BODY_BYTES = 8 * 1024 * 1024;

async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const path = (req.url ?? "").split("?")[0];
  if (req.method === "GET" && path === "/healthz") sendJson(res, 200, '{"status":"ok"}');
  else if (req.method === "GET" && path === "/v1/models")
    sendJson(
      res,
      200,
      JSON.stringify({
        object: "list",
        data: [{ id: DEMO_MODEL, object: "model", created: 0, owned_by: "bailiwick" }],
      }),
    );
  else if (req.method === "POST" && path === "/v1/chat/completions") await complete(req, res);
  else sendError(res, 404, "there are GET /healthz, GET /v1/models and POST /v1/chat/completions");
}

async function complete(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const body = await readJson(req);
  if (body === "too large") return sendError(res, 413, `the body is larger than ${BODY_BYTES} bytes`);
  const request = ChatRequest.safeParse(body);
  if (!request.success)
    return sendError(res, 400, "the body must be a JSON object with a string model and at least one message");
  const { model, messages, stream, stream_options } = request.data;
  if (model !== DEMO_MODEL) return sendError(res, 404, `there is one model, "${DEMO_MODEL}"`, "model_not_found");

  const text = reply(userTexts(messages));
  const usage = usageOf(
    messages.reduce((sum, message) => sum + plainText(message.content).length, 0),
    text.length,
  );
  if (stream !== true) return sendJson(res, 200, completion(text, usage));
  res.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" });
  for (const event of completionEvents(text, stream_options?.include_usage === true ? usage : undefined)) {
    if (res.destroyed) return;
    res.write(event);
    await setImmediate();
  }
  res.end();
}

/** The parsed body; undefined if it is not JSON. */
async function readJson(req: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of req as AsyncIterable<Buffer>) {
    length += chunk.length;
    // what is too much is read off and forgotten, so that the client can read its answer
    if (length <= BODY_BYTES) chunks.push(chunk);
  }
  if (length > BODY_BYTES) return "too large";
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch {
    return undefined;
  }
}

function sendJson(res: ServerResponse, status: number, json: string): void {
  res.writeHead(status, { "content-type": "application/json" });
  res.end(json);
}

function sendError(res: ServerResponse, status: number, problem: string, code: string | null = null): void {
  const message = `bailiwick demo model: ${problem}`;
  sendJson(res, status, JSON.stringify({ error: { message, type: "invalid_request_error", param: null, code } }));
}

function main(): void {
  const port = Number(process.env.BAILIWICK_PORT ?? "");
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    process.stderr.write(
      `demo-model: received BAILIWICK_PORT=${process.env.BAILIWICK_PORT ?? ""}; set it to a port, 1 to 65535\n`,
    );
    process.exit(1);
  }
  const server = createServer((req, res) => {
    answer(req, res).catch(() => res.destroy());
  });
  server.on("error", (error: NodeJS.ErrnoException) => {
    process.stderr.write(`demo-model: cannot listen on 127.0.0.1:${port} (${error.code}); is another running?\n`);
    process.exit(1);
  });
  server.listen(port, "127.0.0.1", () =>
    process.stdout.write(`demo model, a script and not a language model, serves on 127.0.0.1:${port}\n`),
  );
  process.once("SIGTERM", () => {
    server.close(() => process.exit(0));
    server.closeIdleConnections();
    setTimeout(() => process.exit(0), 5_000).unref();
  });
}

main();
