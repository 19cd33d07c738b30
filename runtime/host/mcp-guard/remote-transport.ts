import { Agent, request } from "undici";
import { errorCode } from "./log.ts";
import { isRecord, type Message } from "./messages.ts";
import type { Listener, Transport } from "./transport.ts";

export interface Remote {
  readonly url: string;
  /** Bearer token; null for none. It goes to this URL alone: no redirect is followed. */
  readonly token: string | null;
}

/**
 * A server by streamable HTTP: each message is a POST, its answer JSON or a stream of events. No stream is opened for what
 * the server would say unasked; its tools are compared again whenever they are listed.
 */
export function remoteTransport({ url, token }: Remote, limit: number, listener: Listener): Transport {
  const agent = new Agent({
    connections: 8,
    connectTimeout: 10_000,
    keepAliveTimeout: 10_000,
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  const aborter = new AbortController();
  let session: string | undefined;
  let version: string | undefined;
  let open = true;
  // in order: a notification must not overtake what it speaks of
  let sent: Promise<void> = Promise.resolve();

  const end = (reason: string) => {
    if (!open) return;
    open = false;
    aborter.abort();
    void agent.destroy().catch(() => {});
    listener.closed(reason);
  };
  const hear = (text: string) => {
    if (!open) return;
    if (token !== null && text.includes(token)) return end("its answer held the token");
    const value: unknown = JSON.parse(text);
    if (isRecord(value) && isRecord(value.result) && typeof value.result.protocolVersion === "string")
      version ??= value.result.protocolVersion;
    listener.message(value);
  };
  const post = async (message: Message): Promise<() => Promise<void>> => {
    const { statusCode, headers, body } = await request(url, {
      method: "POST",
      dispatcher: agent,
      signal: aborter.signal,
      headers: {
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        "user-agent": "bailiwick-mcp-guard",
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(session === undefined ? {} : { "mcp-session-id": session }),
        ...(version === undefined ? {} : { "mcp-protocol-version": version }),
      },
      body: JSON.stringify(message),
    });
    const given = headers["mcp-session-id"];
    if (session === undefined && typeof given === "string" && /^[\x21-\x7e]{1,256}$/.test(given)) session = given;
    return async () => {
      if (statusCode < 200 || statusCode > 299) {
        await body.dump();
        throw new Error(`HTTP ${statusCode}`);
      }
      const type = String(headers["content-type"] ?? "");
      if (type.startsWith("text/event-stream")) await events(body, limit, hear);
      else if (type.startsWith("application/json")) hear(await whole(body, limit));
      else await body.dump();
    };
  };
  return {
    send: (message) => {
      sent = sent.then(async () => {
        if (!open) return;
        try {
          const read = await post(message);
          const reading = read().catch((error: Error) =>
            end(/^HTTP \d+$/.test(error.message) ? error.message : errorCode(error)),
          );
          // the session's id and the version come with the first answer
          if (message.method === "initialize") await reading;
        } catch (error) {
          end(errorCode(error));
        }
      });
    },
    close: () => end("closed here"),
  };
}

async function whole(body: AsyncIterable<Buffer>, limit: number): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of body) {
    bytes += piece.length;
    if (bytes > limit) throw new TooLargeError();
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString("utf8");
}

/** Server-sent events, of which only `data` means anything here. */
async function events(body: AsyncIterable<Buffer>, limit: number, hear: (data: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of body) {
    text += decoder.decode(piece, { stream: true });
    const blocks = text.split(/\r\n\r\n|\n\n|\r\r/);
    text = blocks.pop() ?? "";
    if (text.length > limit) throw new TooLargeError();
    for (const block of blocks) {
      const lines = block.split(/\r\n|\n|\r/).filter((line) => line.startsWith("data:"));
      const data = lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n");
      if (data.length > limit) throw new TooLargeError();
      if (data !== "") hear(data);
    }
  }
}

class TooLargeError extends Error {
  readonly code = "TOO_LARGE";
}
