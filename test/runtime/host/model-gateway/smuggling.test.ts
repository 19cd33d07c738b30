import { connect } from "node:net";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ask, chat, raw } from "./client.ts";
import { configFor, KEYS, type RunningGateway, startGateway } from "./program.ts";
import { startUpstream, type TestUpstream } from "./test-upstream.ts";

let upstream: TestUpstream;
let gateway: RunningGateway;
beforeAll(async () => {
  upstream = await startUpstream();
  gateway = await startGateway(configFor(upstream.url));
});
beforeEach(() => {
  upstream.received.length = 0;
});

const path = "/gpt/v1/chat/completions";
const auth = `Authorization: Bearer ${KEYS.ops}`;
const body = chat();
const hidden = `POST /claude/v1/messages HTTP/1.1\r\nHost: x\r\n${auth}\r\nContent-Length: 0\r\n\r\n`;
const message = (lines: string[], rest: string) => `${[`POST ${path} HTTP/1.1`, ...lines].join("\r\n")}\r\n\r\n${rest}`;
const length = `Content-Length: ${body.length}`;
const chunked = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;

describe("messages whose length can be read in two ways", () => {
  it("pass the control: a length, or chunks", async () => {
    expect(await raw(gateway.port, message(["Host: x", auth, length], body))).toMatch(/^HTTP\/1.1 200 /);
    expect(await raw(gateway.port, message(["Host: x", auth, "Transfer-Encoding: chunked"], chunked))).toMatch(
      /^HTTP\/1.1 200 /,
    );
    expect(upstream.received.map((r) => r.body.toString())).toEqual([body, body]);
    // what goes up has one length, and is not chunked
    expect(upstream.received.map((r) => r.headers["transfer-encoding"])).toEqual([undefined, undefined]);
  });

  it.each([
    ["chunks and a length", ["Host: x", auth, length, "Transfer-Encoding: chunked"], chunked + hidden],
    ["a length and chunks", ["Host: x", auth, "Transfer-Encoding: chunked", length], body + hidden],
    ["two lengths", ["Host: x", auth, "Content-Length: 4", length], body],
    ["two equal lengths", ["Host: x", auth, length, length], body],
    ["a list of lengths", ["Host: x", auth, `Content-Length: ${body.length}, ${body.length}`], body],
    ["a negative length", ["Host: x", auth, "Content-Length: -1"], body],
    ["a length with a sign", ["Host: x", auth, `Content-Length: +${body.length}`], body],
    ["a length in hex", ["Host: x", auth, `Content-Length: 0x${body.length.toString(16)}`], body],
    ["an unknown transfer encoding", ["Host: x", auth, "Transfer-Encoding: xchunked"], chunked],
    ["chunked not last", ["Host: x", auth, "Transfer-Encoding: chunked, identity"], chunked],
    ["a space before the colon", ["Host: x", auth, "Transfer-Encoding : chunked", length], chunked],
    ["a folded header", ["Host: x", auth, "Transfer-Encoding:\r\n chunked", length], chunked],
    ["a bad chunk size", ["Host: x", auth, "Transfer-Encoding: chunked"], `0x${chunked}`],
    ["a chunk longer than its size", ["Host: x", auth, "Transfer-Encoding: chunked"], `1\r\n${body}\r\n0\r\n\r\n`],
    ["a bare line feed in the headers", [`Host: x\n${auth}`, length], body],
    ["a bare carriage return in a value", [`Host: x\rX: y`, auth, length], body],
    ["a NUL in a value", ["Host: x\u0000y", auth, length], body],
    ["a header without a name", ["Host: x", ": y", auth, length], body],
    ["no host", [auth, length], body],
  ])("refuse %s: 400, the connection closed, the provider hears nothing", async (_, lines, rest) => {
    const text = await raw(gateway.port, message(lines, rest), 2000);
    expect(text).toMatch(/^HTTP\/1.1 400 /);
    expect(text.toLowerCase()).toContain("connection: close");
    expect(text.match(/HTTP\/1.1 /g)).toHaveLength(1);
    expect(upstream.received).toEqual([]);
  });

  it("refuse a request line that is none", async () => {
    for (const line of [
      `POST ${path} HTTP/1.1 x`,
      `POST  ${path} HTTP/1.1`,
      `POST ${path} HTTP/9.9`,
      "nonsense",
      `PÖST ${path}`,
    ])
      expect(await raw(gateway.port, `${line}\r\nHost: x\r\n${auth}\r\n\r\n`, 2000), line).toMatch(/^HTTP\/1.1 400 /);
    expect(upstream.received).toEqual([]);
  });
});

describe("line breaks", () => {
  it("in a path or a query reach neither the provider nor the log", async () => {
    const lines = gateway.lines().length;
    for (const target of [`${path}%0d%0aX-Injected:%201`, `${path}?x=%0d%0aX-Injected:%201`, `/gpt%0a/v1/models`])
      expect((await ask(gateway.port, { path: target, body })).status).toBe(404);
    expect(upstream.received).toEqual([]);
    expect(JSON.stringify(gateway.lines().slice(lines))).not.toContain("Injected");
  });

  it("in a model name make no second line in the log", async () => {
    const model = 'x"}\n{"level":"info","agent":"docs","outcome":"ok"}';
    const answer = await ask(gateway.port, { path, body: chat(model) });
    expect(answer.status).toBe(403);
    expect((await gateway.call(answer.requestId)).model).toBeNull();
  });
});

describe("connections", () => {
  it("with more than 16 KiB of headers are refused", async () => {
    const text = await raw(gateway.port, message(["Host: x", auth, `X: ${"y".repeat(17_000)}`, length], body), 2000);
    expect(text).toMatch(/^HTTP\/1.1 431 /);
  });

  it("are closed when the headers take longer than 10 s", async () => {
    const socket = connect(gateway.port, "127.0.0.1");
    const started = Date.now();
    const drip = setInterval(() => socket.write("x"), 500);
    socket.write(`POST ${path} HTTP/1.1\r\nHost: x\r\n${auth}\r\nX: `);
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk;
    });
    socket.on("error", () => {});
    await new Promise((resolve) => socket.on("close", resolve));
    clearInterval(drip);
    expect(text).toMatch(/^HTTP\/1.1 408 /);
    expect(Date.now() - started).toBeLessThan(14_000);
  });

  it("cannot be turned into a tunnel or another protocol", async () => {
    const connectRequest = `CONNECT 127.0.0.1:${upstream.port} HTTP/1.1\r\nHost: x\r\n${auth}\r\n\r\n`;
    expect(await raw(gateway.port, connectRequest)).not.toMatch(/ 200 /);
    const upgrade = message(["Host: x", auth, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", length], body);
    expect(await raw(gateway.port, upgrade)).toMatch(/^HTTP\/1.1 200 /);
    expect(upstream.received).toHaveLength(1);
    expect(upstream.received[0]?.headers.upgrade).toBeUndefined();
  });

  it("carry several requests, each judged by itself", async () => {
    const good = message(["Host: x", auth, length], body);
    const bad = message(["Host: x", "Authorization: Bearer no", length], body);
    const text = await raw(gateway.port, good + bad + good);
    expect(text.match(/HTTP\/1.1 \d+/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 401", "HTTP/1.1 200"]);
  });
});
