import { connect } from "node:net";
import { beforeEach, describe, expect, it } from "vitest";
import { Limiter } from "../../../../runtime/host/model-gateway/limiter.ts";
import { Refused } from "../../../../runtime/host/model-gateway/refusal.ts";
import { type CallLimits, NO_LIMITS } from "../../../../runtime/policy/models/schema.ts";
import { asDocs, ask, asOps, chat, open, whole } from "./client.ts";
import { configFor, KEYS, startGateway, until } from "./program.ts";
import { OPENAI_EVENTS, provider, startUpstream } from "./test-upstream.ts";

const clock = { now: 1_000_000 };
const tried = (limiter: Limiter, limits: Partial<CallLimits>, agent = "a") => {
  try {
    return limiter.enter(agent, "m", { ...NO_LIMITS, ...limits });
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return error.refusal;
  }
};
const entered = (result: ReturnType<typeof tried>) => {
  if (typeof result !== "function") throw new Error(result.message);
  return result;
};

describe("the limiter", () => {
  it("admits a minute's calls at once, then as many as pass, and says when the next may come", () => {
    const limiter = new Limiter(() => clock.now);
    const limits = { requestsPerMinute: 60 };
    for (let i = 0; i < 60; i++) entered(tried(limiter, limits));
    expect(tried(limiter, limits)).toMatchObject({ status: 429, code: "rate_limited", retryAt: clock.now + 1000 });
    entered(tried(limiter, limits, "b"));
    clock.now += 1000;
    entered(tried(limiter, limits));
    expect(tried(limiter, limits)).toMatchObject({ status: 429 });
    clock.now += 3_600_000;
    for (let i = 0; i < 60; i++) entered(tried(limiter, limits));
    expect(tried(limiter, limits)).toMatchObject({ status: 429 });
  });

  it("counts tokens when a call has ended, and waits until they are paid off", () => {
    const limiter = new Limiter(() => clock.now);
    const limits = { tokensPerMinute: 600 };
    entered(tried(limiter, limits))(1200);
    expect(tried(limiter, limits)).toMatchObject({ status: 429, retryAt: clock.now + 60_100 });
    clock.now += 60_100;
    entered(tried(limiter, limits));
  });

  it("counts calls under way, each once", () => {
    const limiter = new Limiter(() => clock.now);
    const limits = { concurrentCalls: 2 };
    const leave = entered(tried(limiter, limits));
    entered(tried(limiter, limits));
    expect(tried(limiter, limits)).toMatchObject({ status: 429 });
    leave(0);
    leave(0);
    entered(tried(limiter, limits));
    expect(tried(limiter, limits)).toMatchObject({ status: 429 });
    expect(limiter.open).toBe(2);
  });

  it("takes other limits from a reload on", () => {
    const limiter = new Limiter(() => clock.now);
    entered(tried(limiter, { requestsPerMinute: 1 }));
    expect(tried(limiter, { requestsPerMinute: 1 })).toMatchObject({ status: 429 });
    clock.now += 60_000;
    entered(tried(limiter, { requestsPerMinute: 600 }));
    entered(tried(limiter, {}));
  });
});

const upstream = await startUpstream();
beforeEach(() => {
  upstream.behave(provider);
  upstream.received.length = 0;
});

const path = "/gpt/v1/chat/completions";
const limited = (limits: Partial<CallLimits>) => {
  const config = configFor(upstream.url);
  for (const route of config.routes)
    for (const grant of route.grants) if (grant.agent === "ops") grant.limits = { ...NO_LIMITS, ...limits };
  return config;
};

describe("a grant's limits", () => {
  it("end in 429 in the provider's format, with the time to wait, before a body is read", async () => {
    const gateway = await startGateway(limited({ requestsPerMinute: 2 }));
    const statuses = [];
    for (let i = 0; i < 3; i++) statuses.push((await ask(gateway.port, { path, body: chat() })).status);
    expect(statuses).toEqual([200, 200, 429]);
    const refused = await ask(gateway.port, { path, body: "no JSON" });
    expect(refused.json().error).toMatchObject({ type: "rate_limit_error", code: "rate_limited" });
    expect(refused.headers["x-should-retry"]).toBe("true");
    expect(Number(refused.headers["retry-after"])).toBeLessThanOrEqual(30);
    const claude = await ask(gateway.port, { path: "/claude/v1/messages", body: chat("claude-sonnet-4-6") });
    expect(claude.status).toBe(200);
    const docs = { ...asOps, authorization: `Bearer ${KEYS.docs}` };
    expect((await ask(gateway.port, { path, body: chat(), headers: docs })).status).toBe(200);
    const list = await ask(gateway.port, { method: "GET", path: "/gpt/v1/models" });
    expect(list.status).toBe(200);
  });

  it("count tokens as the provider does", async () => {
    const gateway = await startGateway(limited({ tokensPerMinute: 11 }));
    expect((await ask(gateway.port, { path, body: chat() })).status).toBe(200);
    expect((await ask(gateway.port, { path, body: chat() })).status).toBe(429);
  });

  it("on calls at once are free again when a stream ends, is cut or is left", async () => {
    const gateway = await startGateway(limited({ concurrentCalls: 1 }));
    for (const end of ["end", "cut", "leave"] as const) {
      upstream.behave((_, res) => {
        res.writeHead(200, { "content-type": "text/event-stream" }).write(OPENAI_EVENTS[0]);
        if (end === "end") setTimeout(() => res.end(), 100);
        if (end === "cut") setTimeout(() => res.socket?.destroy(), 100);
      });
      const response = await open(gateway.port, { path, body: chat() }).response;
      response.on("error", () => {});
      expect((await ask(gateway.port, { path, body: chat() })).status).toBe(429);
      if (end === "leave") response.destroy();
      else await whole(response).catch(() => {});
      upstream.behave(provider);
      const id = String(response.headers["x-bailiwick-request-id"]);
      await until(() => gateway.lines().some((line) => line.requestId === id), "the end of the stream");
      expect((await ask(gateway.port, { path, body: chat() })).status).toBe(200);
    }
  });
});

describe("the port of root", () => {
  const read = async (port: number, path: string, method = "GET") => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method });
    return { status: response.status, text: await response.text() };
  };

  it("tells metrics in Prometheus' format, without content, keys or names that an agent made up", async () => {
    const config = configFor(upstream.url);
    config.budgets.caps = [{ scope: "agent/ops", usdPerDay: 5, usdPerMonth: null }];
    const gateway = await startGateway(config);
    await ask(gateway.port, { path, body: chat("gpt-5.6", { user: "canary-content" }) });
    await ask(gateway.port, { path, body: chat("gpt-canary-model") });
    await ask(gateway.port, { path: "/canary-route/v1/x", body: "{}" });
    await ask(gateway.port, { path, body: chat(), headers: { authorization: "Bearer canary-key" } });
    const { status, text } = await read(gateway.adminPort, "/metrics");
    expect(status).toBe(200);
    expect(text).not.toContain("canary");
    for (const line of text.trim().split("\n"))
      expect(line).toMatch(
        /^# TYPE [a-z_]+ (counter|gauge|histogram)$|^[a-z_]+(\{([a-z]+="[^"\\]*",?)+\})? [0-9.e+-]+$/,
      );
    expect(text).toContain(
      'bailiwick_gateway_calls_total{agent="ops",provider="gpt",model="gpt-5.6",outcome="ok",status="200"} 1\n',
    );
    expect(text).toContain('outcome="model_not_found",status="403"} 1\n');
    expect(text).toContain('bailiwick_gateway_output_tokens_total{agent="ops",provider="gpt",model="gpt-5.6"} 2\n');
    expect(text).toContain('bailiwick_gateway_budget_cap_usd{scope="agent/ops",period="day"} 5\n');
    expect(text).toContain('bailiwick_gateway_upstream_up{provider="gpt"} 1\n');
    expect(text).toContain('bailiwick_gateway_first_byte_seconds_count{provider="gpt"} 1\n');
  });

  it("tells spending by day, agent, provider and model, and what is left", async () => {
    const config = configFor(upstream.url);
    config.budgets.caps = [{ scope: "host", usdPerDay: null, usdPerMonth: 1 }];
    const gateway = await startGateway(config);
    for (let i = 0; i < 2; i++) await ask(gateway.port, { path, body: chat() });
    const spent = JSON.parse((await read(gateway.adminPort, "/spend")).text);
    expect(spent).toMatchObject({
      timeZone: "UTC",
      budgets: [{ scope: "host", period: "month", cap: 1, spent: 58e-9, reserved: 0 }],
      calls: [{ agent: "ops", route: "gpt", model: "gpt-5.6", calls: 2, inputTokens: 18, outputTokens: 4, usd: 58e-9 }],
    });
    expect(spent.budgets[0].left).toBeCloseTo(1 - 58e-9, 12);
  });

  it("changes nothing, and is not on the port of the agents", async () => {
    const gateway = await startGateway(configFor(upstream.url));
    expect((await read(gateway.adminPort, "/metrics", "POST")).status).toBe(405);
    expect((await read(gateway.adminPort, "/gpt/v1/models")).status).toBe(404);
    for (const where of ["/metrics", "/spend"]) expect((await read(gateway.port, where)).status).toBe(401);
  });
});

describe("bodies of all calls together", () => {
  const body = chat("gpt-5.6", { padding: "x".repeat(40_000) });

  it("are held within a bound: one agent has at most half of it, and gets it back when its call has ended", async () => {
    const config = configFor(upstream.url);
    const gateway = await startGateway({ ...config, limits: { ...config.limits, bufferedBytes: 100_000 } });
    let finish = () => {};
    upstream.behave((_, res) => {
      finish = () => res.end("{}");
    });
    const first = open(gateway.port, { path, body }).response;
    await until(() => upstream.received.length > 0, "the first call at the provider");
    const second = await ask(gateway.port, { path, body });
    expect([second.status, second.json().error.code, second.headers["retry-after"]]).toEqual([503, "no_room", "1"]);
    const others = open(gateway.port, { path, body, headers: asDocs }).response;
    const end = finish;
    await until(() => finish !== end, "the other agent's call at the provider");
    const third = await ask(gateway.port, {
      path,
      body: chat("gpt-5.6", { padding: "x".repeat(25_000) }),
      headers: asDocs,
    });
    expect(third.json().error.code, "nor is there room for more of all").toBe("no_room");
    end();
    finish();
    expect((await whole(await first)).status).toBe(200);
    expect((await whole(await others)).status).toBe(200);
    upstream.behave(provider);
    for (let i = 0; i < 5; i++) expect((await ask(gateway.port, { path, body })).status).toBe(200);
  });

  it("count a body that is still on its way, and no longer one whose client has left", async () => {
    const config = configFor(upstream.url);
    const gateway = await startGateway({ ...config, limits: { ...config.limits, bufferedBytes: 100_000 } });
    upstream.behave(provider);
    const slow = connect(gateway.port, "127.0.0.1");
    slow.on("error", () => {});
    const head = `POST ${path} HTTP/1.1\r\nhost: x\r\nauthorization: ${asOps.authorization}\r\ncontent-length: 45000\r\n\r\n`;
    slow.write(`${head}${" ".repeat(40_000)}`);
    const status = async () => (await ask(gateway.port, { path, body })).status;
    await expect.poll(status).toBe(503);
    slow.destroy();
    await expect.poll(status).toBe(200);
    for (let i = 0; i < 5; i++) expect(await status()).toBe(200);
  });
});
