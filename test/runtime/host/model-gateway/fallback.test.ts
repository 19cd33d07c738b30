import { createServer } from "node:net";
import { beforeEach, describe, expect, it } from "vitest";
import { Breaker } from "../../../../runtime/host/model-gateway/breaker.ts";
import type { GatewayConfig } from "../../../../runtime/policy/models/schema.ts";
import { ask, chat, open, whole } from "./client.ts";
import { configFor, launch, PRICE, startGateway } from "./program.ts";
import { type Behaviour, OPENAI_EVENTS, provider, startUpstream } from "./test-upstream.ts";

const first = await startUpstream();
const second = await startUpstream();
beforeEach(() => {
  for (const one of [first, second]) {
    one.behave(provider);
    one.received.length = 0;
  }
});

const path = "/gpt/v1/chat/completions";
const question = { path, body: chat() };
const CLOSED = "http://127.0.0.1:1";

function backed(url: string, change: (config: GatewayConfig) => void = () => {}): GatewayConfig {
  const config = configFor(url);
  const gpt = config.routes.find(({ name }) => name === "gpt");
  if (gpt === undefined) throw new Error("the configuration has no route gpt");
  gpt.fallback = "spare";
  config.routes.push({ ...gpt, name: "spare", provider: "openai-compatible", upstream: second.url, fallback: null });
  change(config);
  return config;
}
const status =
  (code: number): Behaviour =>
  (_, res) => {
    res.writeHead(code, { "content-type": "application/json" }).end('{"error":{"message":"from the provider"}}');
  };

describe("a call", () => {
  it("is tried again at the same provider only while it certainly never had it", async () => {
    // refuses two connections, then becomes the way to the provider
    const blocked = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => blocked.once("listening", resolve));
    const { port } = blocked.address() as { port: number };
    blocked.close();
    const gateway = await startGateway(configFor(`http://127.0.0.1:${port}`));
    const answer = ask(gateway.port, question);
    const { status, requestId } = await answer;
    expect(status).toBe(502);
    expect(await gateway.call(requestId)).toMatchObject({ attempts: 3, servedBy: "gpt", error: "ECONNREFUSED" });

    first.behave((_, res) => res.socket?.destroy());
    const other = await startGateway(configFor(first.url));
    const cut = await ask(other.port, question);
    expect([cut.status, first.received.length]).toEqual([502, 1]);
    expect(await other.call(cut.requestId)).toMatchObject({ attempts: 1 });
  });

  it.each([429, 500, 503, 529])(
    "that is answered %d goes to the fallback, with its key and its bytes",
    async (code) => {
      first.behave(status(code));
      const gateway = await startGateway(backed(first.url));
      const answer = await ask(gateway.port, question);
      expect([answer.status, first.received.length, second.received.length]).toEqual([200, 1, 1]);
      expect(second.received[0]?.body.toString()).toBe(question.body);
      expect(await gateway.call(answer.requestId)).toMatchObject({ route: "gpt", servedBy: "spare", attempts: 2 });
    },
  );

  it("goes to the fallback when no connection comes about", async () => {
    const gateway = await startGateway(backed(CLOSED));
    expect((await ask(gateway.port, question)).status).toBe(200);
  });

  it.each([400, 401, 404])("that is answered %d does not", async (code) => {
    first.behave(status(code));
    const gateway = await startGateway(backed(first.url));
    const answer = await ask(gateway.port, question);
    expect([answer.status, answer.json().error.message]).toEqual([code, "from the provider"]);
    expect(second.received).toEqual([]);
  });

  it("that may have been served does not, nor one of which a byte has come", async () => {
    const gateway = await startGateway(backed(first.url));
    first.behave((_, res) => res.socket?.destroy());
    expect((await ask(gateway.port, question)).status).toBe(502);
    first.behave((_, res) => {
      res.writeHead(200, { "content-type": "text/event-stream" }).write(OPENAI_EVENTS[0]);
      setTimeout(() => res.socket?.destroy(), 50);
    });
    await expect(whole(await open(gateway.port, question).response)).rejects.toThrow("aborted");
    expect(second.received).toEqual([]);
  });

  it("is reserved at the dearer of the two and booked at the one that answered", async () => {
    first.behave(status(503));
    const config = backed(first.url, ({ routes, budgets }) => {
      const spare = routes.find(({ name }) => name === "spare");
      if (spare !== undefined) spare.prices = { ...spare.prices, "gpt-5.6": { ...PRICE, output: 1000 } };
      budgets.caps = [{ scope: "model/gpt", usdPerDay: 1.1, usdPerMonth: null }];
    });
    const gateway = await startGateway(config);
    const answer = await ask(gateway.port, question);
    expect(await gateway.call(answer.requestId)).toMatchObject({ usd: 0.002000009 });
    config.budgets.caps = [{ scope: "model/gpt", usdPerDay: 0.9, usdPerMonth: null }];
    const tight = await startGateway(config);
    expect((await ask(tight.port, question)).status).toBe(429);
  });
});

describe("a provider that fails again and again", () => {
  it("is left alone for a moment, and then asked once", async () => {
    const clock = { now: 1000 };
    const breaker = new Breaker(() => clock.now);
    for (let i = 0; i < 5; i++) {
      expect(breaker.begin()).toBe(undefined);
      breaker.end(false);
    }
    expect([breaker.isClosed, breaker.begin()]).toEqual([false, 11_000]);
    clock.now = 11_000;
    expect([breaker.begin(), breaker.begin()]).toEqual([undefined, 12_000]);
    breaker.end(undefined);
    expect(breaker.begin()).toBe(undefined);
    breaker.end(false);
    expect(breaker.begin()).toBe(21_000);
    clock.now = 21_000;
    breaker.begin();
    breaker.end(true);
    expect([breaker.isClosed, breaker.begin()]).toEqual([true, undefined]);
  });

  it("has its calls refused at once, in the provider's format, or sent to the fallback", async () => {
    const gateway = await startGateway(configFor(CLOSED));
    for (let i = 0; i < 2; i++) await ask(gateway.port, question);
    const answer = await ask(gateway.port, question);
    expect([answer.status, answer.json().error.code]).toEqual([503, "upstream_down"]);
    expect(Number(answer.headers["retry-after"])).toBeLessThanOrEqual(10);
    const backedUp = await startGateway(backed(CLOSED));
    for (let i = 0; i < 3; i++) expect((await ask(backedUp.port, question)).status).toBe(200);
    const last = await ask(backedUp.port, question);
    expect(await backedUp.call(last.requestId)).toMatchObject({ attempts: 1, servedBy: "spare" });
  });

  it("is not one that answers 500: one agent's request could bring that about for all", async () => {
    first.behave(status(500));
    const gateway = await startGateway(configFor(first.url));
    for (let i = 0; i < 8; i++) expect((await ask(gateway.port, question)).status).toBe(500);
  });
});

describe("a fallback is refused at start", () => {
  const gpt = (config: GatewayConfig) => config.routes.find(({ name }) => name === "gpt");
  it.each<[string, (config: GatewayConfig) => void, RegExp]>([
    ["that is no route", (c) => Object.assign(gpt(c) ?? {}, { fallback: "none" }), /"none", which is no other route/],
    ["that is the route itself", (c) => Object.assign(gpt(c) ?? {}, { fallback: "gpt" }), /no other route/],
    ["of another format", (c) => Object.assign(gpt(c) ?? {}, { fallback: "claude" }), /wire format is another/],
    ["that is not granted", (c) => Object.assign(gpt(c) ?? {}, { fallback: "local" }), /"docs" is not granted/],
  ])("%s", async (_, change, reason) => {
    const { exited, output } = launch(backed(first.url, change));
    expect(await exited).toBe(1);
    expect(output()).toMatch(reason);
  });
});
