import { request as httpRequest } from "node:http";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ask, asOps, chat } from "./client.ts";
import { configFor, type RunningGateway, startGateway } from "./program.ts";
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
const send = (body: string | Buffer, headers: Record<string, string> = asOps) =>
  ask(gateway.port, { path, body, headers });

describe("bodies that two parsers could read differently", () => {
  it.each([
    ["the key twice", '{"model":"gpt-5.6","model":"forbidden"}'],
    ["the key twice, the other way", '{"model":"forbidden","model":"gpt-5.6"}'],
    ["the same value twice", '{"model":"gpt-5.6","model":"gpt-5.6"}'],
    ["the second written with an escape", '{"model":"gpt-5.6","mod\\u0065l":"forbidden"}'],
    ["the second in another letter case", '{"model":"gpt-5.6","Model":"forbidden"}'],
    ["the second behind a long value", `{"model":"gpt-5.6","x":"${"y".repeat(70_000)}","model":"forbidden"}`],
    ["the second behind nested ones", '{"model":"gpt-5.6","x":{"model":[{"model":1}]},"model":"forbidden"}'],
    ["any other key twice", '{"model":"gpt-5.6","max_tokens":1,"max_tokens":100000}'],
    ["a comment", '{"model":"gpt-5.6"/*","model":"forbidden"*/}'],
    ["a trailing comma", '{"model":"gpt-5.6",}'],
    ["single quotes", "{'model':'gpt-5.6'}"],
    ["two documents", '{"model":"gpt-5.6"}{"model":"forbidden"}'],
    ["a byte order mark", '\ufeff{"model":"gpt-5.6"}'],
    ["a leading NUL", '\u0000{"model":"gpt-5.6"}'],
    ["a trailing NUL", '{"model":"gpt-5.6"}\u0000'],
    ["a raw line feed in a string", '{"model":"gpt-5.6","x":"a\nb"}'],
    ["NaN", '{"model":"gpt-5.6","x":NaN}'],
    ["a bad escape", '{"model":"gpt-5.6","x":"\\x41"}'],
  ])("refuses %s", async (_, body) => {
    const answer = await send(body);
    expect([answer.status, answer.json().error.code]).toEqual([400, "malformed_request"]);
    expect(upstream.received).toEqual([]);
  });

  it("refuses bytes that are not UTF-8, and UTF-16", async () => {
    const bad = Buffer.from('{"model":"gpt-5.6","x":"?"}');
    bad[bad.indexOf("?")] = 0xff;
    expect((await send(bad)).status).toBe(400);
    expect((await send(Buffer.from(chat(), "utf16le"))).status).toBe(400);
    expect(upstream.received).toEqual([]);
  });

  it("passes the control: nested keys of that name, any order, white space, escapes in values", async () => {
    for (const body of [
      '{"x":{"model":"forbidden","model":"forbidden"},"model":"gpt-5.6"}',
      ' \r\n\t{ "messages" : [ ] , "model" : "gpt-5.6" } \n',
      '{"model":"gpt-5.6","x":["model","\\"model\\":","{\\"model\\":1}",-1.5e+3,true,null]}',
      '{"mod\\u0065l":"gpt\\u002d5.6"}',
    ])
      expect((await send(body)).status, body).toBe(200);
    expect(upstream.received).toHaveLength(4);
  });
});

describe("bodies that name no model", () => {
  it.each([
    "",
    "[]",
    '"gpt-5.6"',
    "null",
    "{}",
    '{"model":null}',
    '{"model":["gpt-5.6"]}',
    '{"model":{"id":"gpt-5.6"}}',
  ])("refuses %s", async (body) => {
    expect((await send(body)).status).toBe(400);
    expect(upstream.received).toEqual([]);
  });
});

describe("media types", () => {
  const of = (headers: Record<string, string>) => send(chat(), { authorization: asOps.authorization, ...headers });
  it("takes JSON in UTF-8 and tells the provider so itself", async () => {
    for (const type of ["application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8"])
      expect((await of({ "content-type": type })).status).toBe(200);
    expect((await of({})).status).toBe(200);
    expect(upstream.received.map((r) => r.headers["content-type"])).toEqual(Array(4).fill("application/json"));
  });

  it("refuses everything else", async () => {
    for (const headers of [
      { "content-type": "application/json; charset=utf-16" },
      { "content-type": "application/x-www-form-urlencoded" },
      { "content-type": "multipart/form-data; boundary=x" },
      { "content-type": "application/json", "content-encoding": "gzip" },
    ])
      expect((await of(headers)).status).toBe(415);
    expect(upstream.received).toEqual([]);
  });
});

describe("size", () => {
  const limit = 256 * 1024;
  const sized = (bytes: number) => {
    const frame = chat("gpt-5.6", { pad: "" });
    return frame.replace('"pad":""', `"pad":"${"x".repeat(bytes - frame.length)}"`);
  };

  it("takes a body of exactly the limit", async () => {
    expect((await send(sized(limit))).status).toBe(200);
    expect(upstream.received[0]?.body.length).toBe(limit);
  });

  it("answers 413 to one byte more, announced or in chunks, and the client can read it", async () => {
    const announced = await send(sized(limit + 1));
    const chunked = await send(sized(limit * 8), { ...asOps, "transfer-encoding": "chunked" });
    for (const answer of [announced, chunked])
      expect([answer.status, answer.json().error.code]).toEqual([413, "body_too_large"]);
    expect(upstream.received).toEqual([]);
  });

  it("does not wait for an announced body that is too large", async () => {
    const status = await new Promise((resolve, reject) => {
      const request = httpRequest(
        { host: "127.0.0.1", port: gateway.port, method: "POST", path, headers: { ...asOps, "content-length": 1e9 } },
        (res) => {
          resolve(res.statusCode);
          request.destroy();
        },
      );
      request.on("error", reject);
      request.write("{");
    });
    expect(status).toBe(413);
  });

  it("refuses nesting that is meant to exhaust a parser", async () => {
    const nested = (depth: number) => `{"model":"gpt-5.6","x":${"[".repeat(depth)}${"]".repeat(depth)}}`;
    expect((await send(nested(511))).status).toBe(200);
    expect((await send(nested(512))).status).toBe(400);
    expect((await send(`{"model":"gpt-5.6","x":${"[".repeat(100_000)}`)).status).toBe(400);
  });
});
