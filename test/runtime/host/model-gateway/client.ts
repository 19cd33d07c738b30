import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { KEYS } from "./program.ts";

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: answers of unknown shape, looked into by assertions
  json(): any;
  readonly requestId: string | undefined;
}

export interface Question {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Record<string, string | string[]>;
  readonly body?: string | Buffer;
}

/** Headers of agent ops, as OpenAI's clients send them. */
export const asOps = { authorization: `Bearer ${KEYS.ops}`, "content-type": "application/json" };
/** Headers of agent docs, as Anthropic's clients send them. */
export const asDocs = { "x-api-key": KEYS.docs, "content-type": "application/json" };

export const chat = (model = "gpt-5.6", more: object = {}) =>
  JSON.stringify({ model, messages: [{ role: "user", content: "hello" }], ...more });

/** Sends a request, path and headers untouched, and returns when the response's headers are there. */
export function open(port: number, { method = "POST", path, headers = asOps, body = "" }: Question) {
  const request = httpRequest({ host: "127.0.0.1", port, method, path, headers, agent: false });
  const response = new Promise<IncomingMessage>((resolve, reject) => {
    request.on("response", resolve);
    request.on("error", reject);
  });
  response.catch(() => {});
  request.end(body);
  return { request, response };
}

/** Sends a request and reads the whole answer. Rejects if it is cut. */
export async function ask(port: number, question: Question): Promise<Answer> {
  return whole(await open(port, question).response);
}

/** The rest of a response. Rejects if it is cut. */
export async function whole(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  const id = response.headers["x-bailiwick-request-id"];
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body,
    text: body.toString(),
    json: () => JSON.parse(body.toString()),
    requestId: typeof id === "string" ? id : undefined,
  };
}

/** Writes bytes to a connection of its own and returns all that comes back until it closes, or falls silent for `quietMs`. */
export function raw(port: number, bytes: string | Buffer, quietMs = 500): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
    let text = "";
    const done = () => {
      socket.destroy();
      resolve(text);
    };
    socket.setTimeout(quietMs, done);
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
    });
    socket.on("error", done);
    socket.on("close", done);
  });
}
