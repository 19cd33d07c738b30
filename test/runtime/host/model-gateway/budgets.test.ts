import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import type { GatewayConfig } from "../../../../runtime/policy/models/schema.ts";
import { ask, asOps, chat, open, whole } from "./client.ts";
import { CutDisk, missingForCutDisk } from "./cut-disk.ts";
import { configFor, KEYS, launch, PRICE, type RunningGateway, startGateway, until } from "./program.ts";
import { ANTHROPIC_EVENTS, type Behaviour, OPENAI_EVENTS, provider, startUpstream } from "./test-upstream.ts";

const folder = mkdtempSync(join(tmpdir(), "bailiwick-budgets-"));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;

const noDisks = missingForCutDisk();
if (noDisks !== undefined) console.log(`not run: budgets over a power cut: ${noDisks}`);

const upstream = await startUpstream();
beforeEach(() => {
  upstream.behave(provider);
  upstream.received.length = 0;
});

const path = "/gpt/v1/chat/completions";
const streamed = chat("gpt-5.6", { stream: true });

/** Prices of 1 USD per million tokens, 10 of output: a call of 1000 tokens of output costs a little more than a cent. */
const DEAR = { ...PRICE, input: 1, output: 10, cacheRead: 0.1, cacheWrite: 1, cacheWrite1h: 1 };

function capped(usdPerDay: number, change: Partial<GatewayConfig["budgets"]> = {}): GatewayConfig {
  const config = configFor(upstream.url);
  for (const route of config.routes) for (const id of Object.keys(route.prices)) route.prices[id] = DEAR;
  config.budgets = {
    ...config.budgets,
    ledger: join(folder, `${files++}.db`),
    caps: [{ scope: "agent/ops", usdPerDay, usdPerMonth: null }],
    ...change,
  };
  return config;
}

/** A provider that charges the most it may: every byte a token, all output it was allowed; and charges for it at once. */
function greedy(serve: (usage: object, ...call: Parameters<Behaviour>) => void) {
  const bill = { usd: 0, calls: 0 };
  upstream.behave((received, res) => {
    const body = received.body.toString();
    const completion_tokens = Number(/"max(?:_completion)?_tokens":(\d+)/.exec(body)?.[1]);
    const prompt_tokens = received.body.length;
    bill.usd += (prompt_tokens * DEAR.input + completion_tokens * DEAR.output) / 1e6;
    bill.calls++;
    serve({ prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }, received, res);
  });
  return bill;
}

const events = (usage: object) => [
  ...OPENAI_EVENTS.slice(0, 3),
  `data: {"id":"chatcmpl-1","choices":[],"usage":${JSON.stringify(usage)}}\n\n`,
  "data: [DONE]\n\n",
];
const slowly = (usage: object, ...[, res]: Parameters<Behaviour>) => {
  res.writeHead(200, { "content-type": "text/event-stream" });
  const rest = events(usage);
  res.write(rest.shift());
  setTimeout(() => res.end(rest.join("")), 300);
};

/** Sends `count` streams at once; what became of each. */
async function storm(gateway: RunningGateway, count: number, leave = () => false) {
  const ends = await Promise.all(
    Array.from({ length: count }, async () => {
      try {
        const response = await open(gateway.port, { path, body: streamed }).response;
        if (leave() && response.statusCode === 200) {
          response.on("error", () => {});
          response.destroy();
          return "left";
        }
        return (await whole(response)).status;
      } catch {
        return "cut";
      }
    }),
  );
  const of = (end: number | string) => ends.filter((one) => one === end).length;
  return { ok: of(200), over: of(429), left: of("left"), cut: of("cut") };
}

describe("500 streams at once against a cap", () => {
  it("never spend more than the cap by the provider's own count, and most of it", async () => {
    const gateway = await startGateway(capped(1));
    const bill = greedy(slowly);
    const first = await storm(gateway, 500);
    expect(first.ok + first.over).toBe(500);
    expect(first.over).toBeGreaterThan(300);
    for (let i = 0; i < 3; i++) await storm(gateway, 100);
    expect(bill.usd).toBeLessThanOrEqual(1);
    expect(bill.usd).toBeGreaterThan(0.6);
  });

  it("nor when clients leave and the provider breaks off: what is not known stays reserved", async () => {
    const gateway = await startGateway(capped(1));
    let n = 0;
    const bill = greedy((usage, received, res) => {
      if (n++ % 3 !== 0) return slowly(usage, received, res);
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.write(OPENAI_EVENTS[0]);
      setTimeout(() => res.socket?.destroy(), 50);
    });
    let k = 0;
    const ends = await storm(gateway, 500, () => k++ % 2 === 0);
    expect(ends.left).toBeGreaterThan(5);
    expect(ends.cut).toBeGreaterThan(5);
    await storm(gateway, 100);
    expect(bill.usd).toBeLessThanOrEqual(1);
    expect(bill.usd).toBeGreaterThan(0.6);
  });

  it("nor over kill -9 and restart in the middle: what was promised counts as spent", async () => {
    const config = capped(1);
    const bill = greedy(slowly);
    // 40 at once leave something of the cap for the rounds that follow; 500 in the end do not
    for (const count of [40, 40, 500]) {
      const gateway = await startGateway(config);
      const before = bill.calls;
      const ends = storm(gateway, count);
      await until(() => bill.calls > before + 5, "calls under way");
      gateway.signal("SIGKILL");
      expect((await ends).ok).toBeLessThan(count);
      expect(await gateway.exited).not.toBe(0);
    }
    expect(bill.calls).toBeGreaterThan(10);
    expect(bill.usd).toBeLessThanOrEqual(1);
    const gateway = await startGateway(config);
    for (let i = 0; i < 2; i++) await storm(gateway, 100);
    expect(bill.usd).toBeLessThanOrEqual(1);
  });

  it.skipIf(noDisks !== undefined)(
    "nor over power cuts in the middle: what was not synced is gone, and was not promised",
    async () => {
      using disk = new CutDisk(folder);
      let lost = 0;
      const bill = greedy(slowly);
      const config = capped(1, { ledger: join(disk.mounted, "ledger.db") });
      for (const count of [30, 30, 500]) {
        const gateway = await startGateway(config);
        const before = bill.calls;
        const ends = storm(gateway, count);
        await until(() => bill.calls > before + 5, "calls under way");
        const notSynced = join(disk.mounted, `not-synced-${count}-${before}`);
        writeFileSync(notSynced, "x".repeat(100_000));
        // from here on it does nothing any more, nor does the kernel for it: a sync that had begun is over
        gateway.signal("SIGSTOP");
        await until(() => readFileSync(`/proc/${gateway.pid}/status`, "utf8").includes("State:\tT"), "its stop");
        disk.cut(() => gateway.signal("SIGKILL"));
        await gateway.exited;
        await ends;
        if (!existsSync(notSynced) || !readFileSync(notSynced, "utf8").includes("x")) lost++;
      }
      // control: what nobody synced has not survived, but where the whole machine happened to write back just then
      expect(lost).toBeGreaterThan(0);
      expect(bill.calls).toBeGreaterThan(10);
      const gateway = await startGateway(config);
      for (let i = 0; i < 2; i++) await storm(gateway, 100);
      expect(bill.usd).toBeLessThanOrEqual(1);
      gateway.signal("SIGKILL");
      await gateway.exited;
    },
  );
});

describe("a call under a budget", () => {
  it("goes up with its output bounded and its usage asked for, all other bytes as they were", async () => {
    const gateway = await startGateway(capped(1));
    const sent = async (to: string, body: string) => {
      const answer = await ask(gateway.port, { path: to, body });
      expect(answer.status).toBe(200);
      expect((await gateway.call(answer.requestId)).changed).toEqual(
        upstream.received.at(-1)?.body.toString() === body ? [] : expect.arrayContaining([expect.any(String)]),
      );
      return upstream.received.at(-1)?.body.toString();
    };
    const inside = ' "messages" : [ ], "model":"gpt-5.6" ';
    expect(await sent(path, `{${inside}}`)).toBe(`{"max_completion_tokens":1000,${inside}}`);
    expect(await sent(path, `{${inside},"max_tokens": 7}`)).toBe(`{${inside},"max_tokens": 7}`);
    expect(await sent(path, `{${inside},"max_tokens": 7000 }`)).toBe(`{${inside},"max_tokens": 1000 }`);
    expect(await sent(path, `{${inside},"max_tokens":1,"stream":true}`)).toBe(
      `{"stream_options":{"include_usage":true},${inside},"max_tokens":1,"stream":true}`,
    );
    expect(await sent(path, `{${inside},"max_tokens":1,"stream":true,"stream_options":{"include_usage":false}}`)).toBe(
      `{${inside},"max_tokens":1,"stream":true,"stream_options":{"include_usage":true}}`,
    );
    const google = "/gemini/v1beta/models/gemini-3-pro:generateContent";
    expect(await sent(google, '{"contents":[],"generationConfig":{"temperature":0}}')).toBe(
      '{"contents":[],"generationConfig":{"maxOutputTokens":1000,"temperature":0}}',
    );
    expect(await sent("/claude/v1/messages", '{"model":"claude-sonnet-4-6","max_tokens":2000}')).toBe(
      '{"model":"claude-sonnet-4-6","max_tokens":1000}',
    );
  });

  it("is not changed where no cap holds", async () => {
    const gateway = await startGateway(capped(1, { caps: [{ scope: "agent/docs", usdPerDay: 1, usdPerMonth: null }] }));
    await ask(gateway.port, { path, body: streamed });
    expect(upstream.received[0]?.body.toString()).toBe(streamed);
  });

  it.each<[string, string, object]>([
    ["a tool of the provider", path, { tools: [{ type: "web_search" }] }],
    ["search", path, { web_search_options: {} }],
    ["sound", path, { modalities: ["text", "audio"] }],
    ["a dearer tier", path, { service_tier: "priority" }],
    ["a field that is not known", path, { turbo: true }],
    ["a tier in another case", path, { Service_Tier: "priority" }],
    ["a negative limit", path, { max_tokens: -1 }],
    ["half a limit", path, { max_tokens: 1.5 }],
    ["too many choices", path, { n: 1000 }],
    ["work in the background", "/gpt/v1/responses", { input: "x", background: true }],
    ["a tool server", "/claude/v1/messages", { model: "claude-sonnet-4-6", mcp_servers: [] }],
    [
      "a server's tool",
      "/claude/v1/messages",
      { model: "claude-sonnet-4-6", tools: [{ type: "web_search_20250305" }] },
    ],
    ["fast mode", "/claude/v1/messages", { model: "claude-sonnet-4-6", speed: "fast" }],
  ])("is refused with %s, which costs more than tokens", async (_, to, more) => {
    const gateway = await shared();
    const answer = await ask(gateway.port, { path: to, body: chat("gpt-5.6", more) });
    expect(answer.status).toBe(400);
    expect(answer.text).toContain("under a budget");
    expect(upstream.received).toEqual([]);
  });

  it("is refused with a search of Google's, and with images as output", async () => {
    const gateway = await shared();
    const to = "/gemini/v1beta/models/gemini-3-pro:generateContent";
    for (const more of [{ tools: [{ googleSearch: {} }] }, { generationConfig: { responseModalities: ["IMAGE"] } }]) {
      const answer = await ask(gateway.port, { path: to, body: JSON.stringify({ contents: [], ...more }) });
      expect([answer.status, answer.json().error.status]).toEqual([400, "INVALID_ARGUMENT"]);
    }
  });

  it("is refused where the price is not known", async () => {
    const config = capped(1);
    for (const route of config.routes) route.prices = {};
    const gateway = await startGateway(config);
    const answer = await ask(gateway.port, { path, body: chat() });
    expect([answer.status, answer.json().error.code]).toEqual([403, "unpriceable"]);
    expect(upstream.received).toEqual([]);
  });

  it("that is over it gets 429 in the provider's format with the time of reset, and no client tries again", async () => {
    const config = capped(0.001, { timeZone: "Asia/Tokyo" });
    const gateway = await startGateway(config);
    const openai = await ask(gateway.port, { path, body: chat() });
    expect(openai.status).toBe(429);
    expect(openai.json().error).toMatchObject({ type: "insufficient_quota", code: "budget_exceeded" });
    expect(openai.text).toMatch(/budget of agent \\"ops\\", \$0\.0010.*begins anew at 20\d\d-\d\d-\d\dT15:00:00\.000Z/);
    expect(openai.headers["x-should-retry"]).toBe("false");
    expect(Number(openai.headers["retry-after"])).toBeGreaterThan(0);
    expect(Number(openai.headers["retry-after"])).toBeLessThanOrEqual(86_400);
    const claude = await ask(gateway.port, { path: "/claude/v1/messages", body: chat("claude-sonnet-4-6") });
    expect([claude.status, claude.json().error.type]).toEqual([429, "rate_limit_error"]);
    const google = await ask(gateway.port, {
      path: "/gemini/v1beta/models/gemini-3-pro:generateContent",
      body: '{"contents":[]}',
    });
    expect(google.json().error).toMatchObject({ code: 429, status: "RESOURCE_EXHAUSTED" });
    expect(google.json().error.details[0].retryDelay).toMatch(/^\d+s$/);
    expect(upstream.received).toEqual([]);
    const docs = { ...asOps, authorization: `Bearer ${KEYS.docs}` };
    expect((await ask(gateway.port, { path, body: chat(), headers: docs })).status).toBe(200);
  });
});

describe("what is booked", () => {
  const booked = async (to: string, body: string, behaviour?: Behaviour) => {
    const gateway = await shared();
    if (behaviour !== undefined) upstream.behave(behaviour);
    const response = await open(gateway.port, { path: to, body }).response;
    await whole(response).catch(() => {});
    return gateway.call(String(response.headers["x-bailiwick-request-id"]));
  };
  const json =
    (status: number, document: object): Behaviour =>
    (_, res) => {
      res.writeHead(status, { "content-type": "application/json" });
      res.end(JSON.stringify(document));
    };
  const usage = { prompt_tokens: 1000, completion_tokens: 100, prompt_tokens_details: { cached_tokens: 600 } };

  it("is what was used, cached tokens at their own price", async () => {
    const line = await booked(path, chat(), json(200, { usage }));
    expect(line).toMatchObject({ usd: 0.00146, usdIsReserved: false, inputTokens: 1000, outputTokens: 100 });
  });

  it("is what the terminal frame of a stream says", async () => {
    expect(await booked(path, streamed)).toMatchObject({ usd: 0.000029, inputTokens: 9, outputTokens: 2 });
    const message = chat("claude-sonnet-4-6", { stream: true, max_tokens: 10 });
    expect(ANTHROPIC_EVENTS.join("")).toContain('"output_tokens":1}');
    expect(await booked("/claude/v1/messages", message)).toMatchObject({ usd: 0.000029, outputTokens: 2 });
  });

  it.each<[string, object | undefined]>([
    ["is missing", undefined],
    ["is negative", { prompt_tokens: -5, completion_tokens: 1 }],
    ["is no number", { prompt_tokens: "5", completion_tokens: 1 }],
    ["is infinite", { prompt_tokens: 1e300, completion_tokens: 1 }],
    ["has more cached than there were", { ...usage, prompt_tokens: 10 }],
  ])("is all that was reserved if the usage %s", async (_, lie) => {
    const line = await booked(path, chat(), json(200, { usage: lie }));
    expect(line.usdIsReserved).toBe(true);
    expect(line.usd).toBeGreaterThan(0.01);
  });

  it("is nothing where the provider refused or was not reached", async () => {
    for (const status of [400, 429, 500])
      expect(await booked(path, chat(), json(status, { error: {} }))).toMatchObject({ usd: 0, usdIsReserved: false });
    const gone = await startGateway(unreachable());
    const answer = await ask(gone.port, { path, body: chat() });
    expect(await gone.call(answer.requestId)).toMatchObject({ status: 502, usd: 0, usdIsReserved: false });
  });

  it("is more than was reserved if the provider charges more, and the cap is then passed by that alone", async () => {
    const gateway = await startGateway(capped(0.02));
    upstream.behave(json(200, { usage: { prompt_tokens: 1_000_000, completion_tokens: 1 } }));
    expect((await ask(gateway.port, { path, body: chat() })).status).toBe(200);
    expect((await ask(gateway.port, { path, body: chat() })).status).toBe(429);
  });
});

describe("the ledger", () => {
  it("that cannot be opened keeps the gateway from starting", async () => {
    const { exited, output } = launch(capped(1, { ledger: join(folder, "absent", "x.db") }));
    expect(await exited).toBe(1);
    expect(output()).toMatch(/model-gateway: the ledger .* cannot be opened/);
  });

  it("goes on after a stop in order with what was spent, and a reload changes caps alone", async () => {
    const config = capped(0.015);
    const gateway = await startGateway(config);
    upstream.behave((_, res) => {
      res.writeHead(200, { "content-type": "application/json" });
      res.end('{"usage":{"prompt_tokens":1,"completion_tokens":500}}');
    });
    expect((await ask(gateway.port, { path, body: chat() })).status).toBe(200);
    expect((await ask(gateway.port, { path, body: chat() })).status).toBe(429);
    const raised = {
      ...config,
      budgets: { ...config.budgets, caps: [{ scope: "host", usdPerDay: 0.03, usdPerMonth: null }] },
    };
    gateway.configure(raised);
    gateway.signal("SIGHUP");
    await until(() => gateway.output().includes('"msg":"reloaded"'), "the reload");
    expect((await ask(gateway.port, { path, body: chat() })).status).toBe(200);
    gateway.signal("SIGTERM");
    expect(await gateway.exited).toBe(0);
    const next = await startGateway(raised);
    const statuses = [];
    for (let i = 0; i < 4; i++) statuses.push((await ask(next.port, { path, body: chat() })).status);
    // 3 cents: half a cent each for two calls before and as many as leave room for the cent that each could cost
    expect(statuses).toEqual([200, 200, 429, 429]);
  });
});

let one: Promise<RunningGateway> | undefined;
function shared(): Promise<RunningGateway> {
  one ??= startGateway(capped(1000));
  return one;
}

function unreachable(): GatewayConfig {
  const config = capped(1);
  for (const route of config.routes) route.upstream = "http://127.0.0.1:1";
  return config;
}
