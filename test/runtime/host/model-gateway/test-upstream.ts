import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { afterAll } from "vitest";

/** A request as it arrived, nothing normalised. */
interface Received {
  readonly method: string;
  readonly url: string;
  readonly rawHeaders: readonly string[];
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
  /** Resolves when the client's side of this exchange is closed. */
  readonly closed: Promise<unknown>;
}

export type Behaviour = (received: Received, res: ServerResponse) => void;

export interface TestUpstream {
  readonly url: string;
  readonly port: number;
  /** Everything received so far, oldest first. */
  readonly received: Received[];
  /** What it does with requests from now on. */
  behave(behaviour: Behaviour): void;
  /** Number of connections accepted so far. */
  connections(): number;
  close(): Promise<void>;
}

export const OPENAI_ANSWER = Buffer.from(
  '{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-5.6", "choices":[{"index":0,"message":{"role":"assistant","content":"caf\\u00e9 ünï"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}\n',
);

export const OPENAI_EVENTS = [
  'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n',
  'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"hé"}}]}\n\n',
  'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
  'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}\n\n',
  "data: [DONE]\n\n",
];

export const ANTHROPIC_EVENTS = [
  'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],"model":"claude-sonnet-4-6","usage":{"input_tokens":9,"output_tokens":1}}}\n\n',
  'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n',
  'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hé"}}\n\n',
  'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n',
  'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}\n\n',
  'event: message_stop\ndata: {"type":"message_stop"}\n\n',
];

/** Answers a question as a provider does: streamed if asked to, in the format of the path. */
export const provider: Behaviour = (received, res) => {
  const stream = /"stream": ?true/.test(received.body.toString());
  if (!stream) {
    res.writeHead(200, {
      "content-type": "application/json",
      "content-length": OPENAI_ANSWER.length,
      "x-request-id": "req_up_1",
    });
    res.end(OPENAI_ANSWER);
    return;
  }
  res.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "request-id": "req_up_2" });
  for (const event of received.url.includes("messages") ? ANTHROPIC_EVENTS : OPENAI_EVENTS) res.write(event);
  res.end();
};

/** A provider on loopback that keeps every request as bytes. With `tls`, an https one for the name localhost. */
export async function startUpstream(tls?: { key: string; cert: string }): Promise<TestUpstream> {
  let behaviour = provider;
  let connections = 0;
  const received: Received[] = [];
  const listener = async (req: IncomingMessage, res: ServerResponse) => {
    const closed = once(res, "close");
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of req) chunks.push(chunk as Buffer);
    } catch {
      return;
    }
    const { method = "", url = "", rawHeaders, headers } = req;
    const whole: Received = { method, url, rawHeaders, headers, body: Buffer.concat(chunks), closed };
    received.push(whole);
    behaviour(whole, res);
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  server.on("connection", () => {
    connections++;
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const close = async () => {
    if (!server.listening) return;
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  };
  afterAll(close);
  return {
    url: tls === undefined ? `http://127.0.0.1:${port}` : `https://localhost:${port}`,
    port,
    received,
    behave: (next) => {
      behaviour = next;
    },
    connections: () => connections,
    close,
  };
}
