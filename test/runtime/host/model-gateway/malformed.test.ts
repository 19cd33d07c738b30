import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { ask, asOps, chat, raw } from "./client.ts";
import { configFor, KEYS, startGateway } from "./program.ts";
import { provider, startUpstream } from "./test-upstream.ts";

// Requests that no client should send. Each ends in a 4xx or a closed connection, and the provider hears nothing of it.

const upstream = await startUpstream();
const gateway = await startGateway(configFor(upstream.url));
beforeEach(() => {
  upstream.behave(provider);
  upstream.received.length = 0;
});

const path = "/gpt/v1/chat/completions";
const key = `authorization: Bearer ${KEYS.ops}`;
const json = "content-type: application/json";
let tried = 0;
afterAll(() => {
  expect(tried).toBeGreaterThanOrEqual(200);
});

/** Statuses of all answers that came back on one connection. */
async function statuses(bytes: string | Buffer): Promise<number[]> {
  const answer = await raw(gateway.port, bytes, 400);
  return [...answer.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]));
}

async function refusesAll(cases: readonly (readonly [string, string | Buffer])[]): Promise<void> {
  tried += cases.length;
  const wrong: string[] = [];
  for (let i = 0; i < cases.length; i += 16)
    await Promise.all(
      cases.slice(i, i + 16).map(async ([name, bytes]) => {
        const got = await statuses(bytes);
        if (got.some((status) => status < 400 || status >= 500)) wrong.push(`${name}: ${got.join(", ")}`);
      }),
    );
  expect(wrong).toEqual([]);
  expect(upstream.received.map(({ url, body }) => `${url} ${body}`)).toEqual([]);
  expect((await ask(gateway.port, { path, body: chat() })).status).toBe(200);
}

const body = chat();
const head = (lines: string[], method = "POST", target = path) =>
  `${[`${method} ${target} HTTP/1.1`, "host: x", key, json, ...lines].join("\r\n")}\r\n\r\n`;
const cl = `content-length: ${body.length}`;
const hex = body.length.toString(16);
const chunked = `${hex}\r\n${body}\r\n0\r\n\r\n`;
const te = "transfer-encoding: chunked";

describe("malformed requests", () => {
  it("lengths that two readers could take differently", () =>
    refusesAll([
      ["two lengths", head([cl, "content-length: 5"]) + body],
      ["the same length twice", head([cl, cl]) + body],
      ["length and chunks", head([cl, te]) + chunked],
      ["chunks and length", head([te, cl]) + chunked],
      ["length 0 and chunks", head(["content-length: 0", te]) + chunked],
      ...["+5", "-1", "5,5", "0x5", "5 5", "", "1e2", "5.0", "\u0665", "99999999999999999999", "5;", "'5'", "NaN"].map(
        (length): [string, string] => [`length ${length}`, head([`content-length: ${length}`]) + body],
      ),
      ...[
        "chunked, identity",
        "xchunked",
        "chunked;q=1",
        "gzip",
        "identity",
        "chunked, gzip",
        "chu nked",
        "\u000bchunked",
        '"chunked"',
        "chunked\u0000",
      ].map((coding): [string, string] => [
        `coding ${JSON.stringify(coding)}`,
        head([`transfer-encoding: ${coding}`]) + chunked,
      ]),
      ["two codings in two lines", head([te, "transfer-encoding: identity"]) + chunked],
      ["a coding with a space before its colon", head(["transfer-encoding : chunked"]) + chunked],
      ["a coding on a folded line", head(["transfer-encoding:\r\n chunked"]) + chunked],
      ...["0x5", "-1", "G", "ffffffffffffffff1", " 5", "5 ", "+5", "", "5\r", "5,", "5\n"].map(
        (size): [string, string] => [
          `chunk size ${JSON.stringify(size)}`,
          `${head([te])}${size}\r\n${body}\r\n0\r\n\r\n`,
        ],
      ),
      ["a chunk longer than it says", `${head([te])}2\r\n${body}\r\n0\r\n\r\n`],
      ["a chunk without its end", `${head([te])}${hex}\r\n${body}0\r\n\r\n`],
      ["bare line feeds in chunks", `${head([te])}${hex}\n${body}\n0\n\n`],
      ["no length at all", head([])],
      ["a length too short, the rest as a request", `${head(["content-length: 2"])}{}POST / HTTP/1.1\r\n\r\n`],
    ]));

  it("lines and headers that are none", () =>
    refusesAll([
      ["bare line feeds", head([cl]).replaceAll("\r\n", "\n") + body],
      ["bare carriage returns", head([cl]).replaceAll("\r\n", "\r") + body],
      ["a header without a colon", head([cl, "nonsense"]) + body],
      ["a header without a name", head([cl, ": x"]) + body],
      ["a space before the colon", head([cl, "x-a : b"]) + body],
      ["a space in a name", head([cl, "x a: b"]) + body],
      ["a folded line", head([cl, "x-a: b\r\n c"]) + body],
      ["a first line that is folded", `POST ${path} HTTP/1.1\r\n host: x\r\n${key}\r\n\r\n`],
      ...["\u0000", "\u0001", "\u000b", "\u007f"].flatMap((control): [string, string][] => [
        [`${JSON.stringify(control)} in a name`, head([cl, `x${control}a: b`]) + body],
        [`${JSON.stringify(control)} in a value`, head([cl, `accept: b${control}c`]) + body],
      ]),
      ["a carriage return in a value", head([cl, "accept: b\rx-injected: 1"]) + body],
      ["more than ASCII in a value", Buffer.from(head([cl, "anthropic-beta: \u00e9"]) + body, "latin1")],
      ["a name in another alphabet", head([cl, "\u0445-a: b"]) + body],
      ["two hosts", head([cl, "host: y"]) + body],
      ["no host", `POST ${path} HTTP/1.1\r\n${key}\r\n${json}\r\n${cl}\r\n\r\n${body}`],
      ["a header of 20 KiB", head([cl, `x-a: ${"a".repeat(20_480)}`]) + body],
      ["3000 headers", head([cl, ...Array.from({ length: 3000 }, (_, i) => `x-${i}: a`)]) + body],
      ["a path of 20 KiB", head([cl], "POST", `/${"a".repeat(20_480)}`) + body],
      ["the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
      ["HTTP/0.9", `GET ${path}\r\n\r\n`],
      ...["HTTP/1.2", "HTTP/2.0", "HTTP/1", "http/1.1", "HTTP/1.1 x", "HTTPS/1.1", "HTTP/11", "HTTP/-1.1"].map(
        (version): [string, string] => [
          version,
          `POST ${path} ${version}\r\nhost: x\r\n${key}\r\n${cl}\r\n\r\n${body}`,
        ],
      ),
      ...[
        "post",
        "PO ST",
        "POST\u0000",
        "TRACE",
        "CONNECT",
        "PUT",
        "PATCH",
        "DELETE",
        "HEAD",
        "OPTIONS",
        "QUERY",
        "PROPFIND",
        "GET",
        "POSTX",
        "",
      ].map((method): [string, string] => [`method ${JSON.stringify(method)}`, head([cl], method) + body]),
      ["TLS", Buffer.from("16030100c8010000c40303", "hex")],
      ["nothing but zeroes", Buffer.alloc(512)],
      ["an expectation", head([cl, "expect: magic"]) + body],
      ["an upgrade to a socket", head(["upgrade: websocket", "connection: upgrade"], "GET")],
    ]));

  it("targets that are not exactly an endpoint", () =>
    refusesAll(
      [
        ...[
          "/gpt/v1/chat/completions/",
          "/gpt//v1/chat/completions",
          "//gpt/v1/chat/completions",
          "/gpt/v1/chat//completions",
        ],
        ...["/gpt/./v1/chat/completions", "/x/../gpt/v1/chat/completions", "/gpt/v1/x/../chat/completions"],
        ...[
          "/gpt/v1/chat%2Fcompletions",
          "/gpt%2Fv1/chat/completions",
          "/%67pt/v1/chat/completions",
          "/gpt/v1/chat/completions%00",
        ],
        ...[
          "/gpt/v1/chat/completions%20",
          "/gpt/v1/chat/completions;x",
          "/gpt;x/v1/chat/completions",
          "/gpt/v1/chat/completions#x",
        ],
        ...[
          "/gpt/v1/chat/completions?",
          "/gpt/v1/chat/completions?model=x",
          "/GPT/v1/chat/completions",
          "/gpt/V1/chat/completions",
        ],
        ...[
          "/gpt/v1/Chat/completions",
          "\\gpt\\v1\\chat\\completions",
          "/gpt/v1\\chat\\completions",
          "/gpt/%2e%2e/admin",
          "/gpt/..;/admin",
        ],
        ...[
          "/gpt/v1/%252e%252e/admin",
          "/gpt/v1/\u200bchat/completions",
          "*",
          "",
          "gpt/v1/chat/completions",
          "http:/gpt/v1/chat/completions",
        ],
        ...[
          "http://evil.test/gpt/v1/chat/completions",
          "http://127.0.0.1/gpt/v1/chat/completions",
          "evil.test:443",
          "@evil.test/",
        ],
        ...[
          "/claude/v1/chat/completions",
          "/gpt/v1/messages",
          "/gpt/v1beta/models/gpt-5.6:generateContent",
          "/constructor/v1/models",
        ],
        ...[
          "/__proto__/v1/chat/completions",
          "/toString/v1/chat/completions",
          "/healthz/../gpt/v1/chat/completions",
          "/gpt/metrics",
        ],
        ...[
          "/metrics",
          "/spend",
          "/admin",
          "/.env",
          "/gpt/v1/keys",
          "/gpt/v1/organization/costs",
          "/gpt/v1/files/../chat/completions",
        ],
      ].map((target): [string, Buffer] => [target, Buffer.from(head([cl], "POST", target) + body)]),
    ));

  it("names of models that look like a granted one", () => {
    const names: unknown[] = [
      ...[
        "GPT-5.6",
        "Gpt-5.6",
        "gpt-5.6 ",
        " gpt-5.6",
        "gpt-5.6\n",
        "gpt-5.6\t",
        "gpt-5.6\u0000",
        "gpt-5.6\u200b",
        "\ufeffgpt-5.6",
      ],
      ...[
        "gpt\u20115.6",
        "g\u0440t-5.6",
        "\uff47\uff50\uff54-5.6",
        "gpt-5.6\u0301",
        "gpt-5\u2024 6",
        "\u0261pt-5.6",
        "gpt-5.6/",
        "./gpt-5.6",
      ],
      ...[
        "gpt-5.6?x",
        "gpt-5.6#x",
        "gpt-5.6;",
        "gpt-5.6,gpt-9",
        "%67pt-5.6",
        "models/gpt-5.6",
        "ft:gpt-5.6:x",
        "gpt-5.6:online",
        "gpt-5.6@1",
      ],
      ...[
        "*",
        "gpt-*",
        "gpt-5.?",
        ".*",
        "",
        "__proto__",
        "constructor",
        "toString",
        "hasOwnProperty",
        "gpt-5.6\\",
        "gpt-5.6\u202e",
      ],
      ...["x".repeat(100_000), "gpt-5", "gpt-5.60", "gpt-5.6-MINI", "gpt-5.6--mini", "demo", "claude-sonnet-4-6"],
      ...[null, true, 5.6, ["gpt-5.6"], { id: "gpt-5.6" }, [], {}],
    ];
    return refusesAll(
      names.map((model) => {
        const bytes = Buffer.from(JSON.stringify({ model, messages: [] }));
        return [
          JSON.stringify(model).slice(0, 40),
          Buffer.concat([Buffer.from(head([`content-length: ${bytes.length}`])), bytes]),
        ] as const;
      }),
    );
  });

  it("bodies that two parsers could read differently, or none", () => {
    const model = '"model":"gpt-5.6"';
    const bodies: (string | Buffer)[] = [
      ...["", " ", "null", "[]", "5", '"gpt-5.6"', "{", "}", "{}", "{}{}", "undefined", "NaN"],
      ...[
        `{${model}`,
        `{${model}}x`,
        `{${model},}`,
        `{,${model}}`,
        `{${model}}{${model}}`,
        `{${model}} // x`,
        `/* x */{${model}}`,
      ],
      ...[
        `{'model':'gpt-5.6'}`,
        `{model:"gpt-5.6"}`,
        `{${model},"model":"gpt-9"}`,
        `{"model":"gpt-9",${model}}`,
        `{${model},"Model":"gpt-9"}`,
      ],
      ...[
        `{${model},"MODEL":"gpt-9"}`,
        `{${model},"\\u006dodel":"gpt-9"}`,
        `{"Model":"gpt-5.6"}`,
        `{${model},"a":NaN}`,
        `{${model},"a":+1}`,
      ],
      ...[
        `{${model},"a":01}`,
        `{${model},"a":1.}`,
        `{${model},"a":.5}`,
        `{${model},"a":0x1}`,
        `{${model},"a":"\n"}`,
        `{${model},"a":"\\x41"}`,
      ],
      ...[
        `{${model},"a":"\\u12"}`,
        `{${model},"a":tru}`,
        `{${model},"a":True}`,
        `{${model} "a":1}`,
        `{${model},"a" 1}`,
        `{${model},"a":[1,]}`,
      ],
      ...[
        `\ufeff{${model}}`,
        `{${model},"a":${"[".repeat(600)}${"]".repeat(600)}}`,
        `{${model},"a":${"[".repeat(100_000)}`,
      ],
      Buffer.from(`{${model},"a":"\xff"}`, "latin1"),
      Buffer.from(`{${model},"a":"\xc0\xaf"}`, "latin1"),
      Buffer.from(`{${model},"a":"\xed\xa0\x80"}`, "latin1"),
      Buffer.from(`{${model}}`, "utf16le"),
      Buffer.from("1f8b08000000000000ff", "hex"),
      Buffer.concat([Buffer.from(`{${model}}`), Buffer.alloc(1)]),
    ];
    return refusesAll(
      bodies.map((bytes) => {
        const buffer = Buffer.from(bytes);
        const bytesWithHead = Buffer.concat([Buffer.from(head([`content-length: ${buffer.length}`])), buffer]);
        return [buffer.toString("latin1").slice(0, 40), bytesWithHead] as const;
      }),
    );
  });

  it("keys in the wrong place, and codings and types of other kinds", () => {
    const post = (lines: string[], target = path) =>
      `POST ${target} HTTP/1.1\r\nhost: x\r\n${lines.join("\r\n")}\r\n${cl}\r\n\r\n${body}`;
    const k = KEYS.ops;
    return refusesAll([
      ["no key", post([json])],
      ["in the query", post([json], `${path}?key=${k}`)],
      ["in the query as a token", post([json], `${path}?access_token=${k}`)],
      ["in a cookie", post([json, `cookie: authorization=Bearer ${k}`])],
      ["in the user's part", post([json], `http://${k}@127.0.0.1${path}`)],
      ...[
        `Basic ${k}`,
        k,
        `Bearer`,
        `Bearer ${k} x`,
        `Bearer ${k},`,
        `Bearer "${k}"`,
        `Bearer Bearer ${k}`,
        `Token ${k}`,
        `Bearer\u00a0${k}`,
      ].map((value): [string, Buffer] => [value, Buffer.from(post([json, `authorization: ${value}`]), "latin1")]),
      ["for proxies", post([json, `proxy-authorization: Bearer ${k}`])],
      ["under another name", post([json, `api-key: ${k}`])],
      ["two that differ", post([json, key, "x-api-key: other"])],
      ["one that is a prefix", post([json, `x-api-key: ${k.slice(0, -1)}`])],
      ["its hash", post([json, `x-api-key: ${"a".repeat(64)}`])],
      ...["gzip", "deflate", "br", "identity", "zstd", "gzip, gzip"].map((coding): [string, string] => [
        `content-encoding ${coding}`,
        post([json, key, `content-encoding: ${coding}`]),
      ]),
      ...[
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        "application/jsonx",
        "application/json, text/plain",
      ].map((type): [string, string] => [type, post([key, `content-type: ${type}`])]),
    ]);
  });
});

describe("an answer that is no honest one", () => {
  it("is a bomb of compressed bytes: passed on as the bytes it is, never unpacked, and what was used is not known", async () => {
    const { gzipSync } = await import("node:zlib");
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
    upstream.behave((_, res) => {
      res.writeHead(200, { "content-type": "text/event-stream", "content-encoding": "gzip" }).end(bomb);
    });
    const answer = await ask(gateway.port, { path, body: chat() });
    expect(answer.body.equals(bomb)).toBe(true);
    expect(await gateway.call(answer.requestId)).toMatchObject({ usd: null, inputTokens: null });
    upstream.behave(provider);
    expect((await ask(gateway.port, { path, body: chat(), headers: asOps })).status).toBe(200);
  });
});
