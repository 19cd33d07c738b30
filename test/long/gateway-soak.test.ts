import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { nodeBinary } from "../../runtime/bundle/node.ts";
import { GATEWAY_HEAP } from "../../runtime/release/render/units.ts";
import { asDocs, ask, chat, open, whole } from "../runtime/host/model-gateway/client.ts";
import { configFor, startGateway } from "../runtime/host/model-gateway/program.ts";
import { OPENAI_EVENTS, provider, startUpstream } from "../runtime/host/model-gateway/test-upstream.ts";

// Ten minutes of all that agents do to a gateway, with everything on. What it holds in memory must not grow with what it
// has served, and it must serve as it did.

const MINUTES = 10;
const WORKERS = 24;
/** Of the 512 MiB that its unit may have. */
const MOST_MIB = 256;

const path = "/gpt/v1/chat/completions";
const limits = { requestsPerMinute: 100_000, tokensPerMinute: 1_000_000_000, concurrentCalls: 1000 };

describe("the model gateway", () => {
  it(`serves for ${MINUTES} minutes within bounded memory`, async () => {
    const upstream = await startUpstream();
    let n = 0;
    upstream.behave((received, res) => {
      upstream.received.length = 0;
      const kind = n++ % 40;
      if (kind === 0) return res.writeHead(500).end("{}");
      if (kind === 1) return res.destroy();
      if (kind !== 2) return provider(received, res);
      res.writeHead(200, { "content-type": "text/event-stream" }).write(OPENAI_EVENTS[0]);
      setTimeout(() => res.destroy(), 20);
    });
    const config = configFor(upstream.url);
    for (const route of config.routes) for (const grant of route.grants) grant.limits = limits;
    config.budgets.caps = [{ scope: "host", usdPerDay: 1_000_000, usdPerMonth: null }];
    const gateway = await startGateway(config, { node: await nodeBinary(), nodeArgs: GATEWAY_HEAP });
    const resident = () =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${gateway.pid}/status`, "utf8"))?.[1]) / 1024;
    const files = () => Number(/FDSize:\s+(\d+)/.exec(readFileSync(`/proc/${gateway.pid}/status`, "utf8"))?.[1]);

    const end = Date.now() + MINUTES * 60_000;
    const counts = { served: 0, refused: 0, left: 0, cut: 0 };
    const worker = async (own: number) => {
      for (let i = own; Date.now() < end; i++) {
        const messages = [{ role: "user", content: "x".repeat((i * 7919) % 60_000) }];
        const body = chat(i % 11 === 0 ? "gpt-none" : "gpt-5.6", { stream: i % 2 === 0, messages });
        const headers = i % 3 === 0 ? { headers: asDocs } : {};
        try {
          const response = await open(gateway.port, { path, body, ...headers }).response;
          if (i % 17 === 0) {
            response.on("error", () => {});
            response.destroy();
            counts.left++;
          } else if ((await whole(response)).status === 200) counts.served++;
          else counts.refused++;
        } catch {
          counts.cut++;
        }
        // a pace that leaves the processor to others
        await new Promise((next) => setTimeout(next, 20));
      }
    };
    const samples: number[] = [];
    const watch = async () => {
      while (Date.now() < end) {
        await new Promise((next) => setTimeout(next, 5000));
        samples.push(resident());
      }
    };
    await Promise.all([watch(), ...Array.from({ length: WORKERS }, (_, i) => worker(i * 13))]);

    console.log(JSON.stringify({ ...counts, residentMb: samples.map(Math.round), files: files() }));
    expect(counts.served).toBeGreaterThan(MINUTES * 1000);
    expect(counts.cut).toBeGreaterThan(10);
    expect(Math.max(...samples)).toBeLessThan(MOST_MIB);
    // the second half holds no more than the first, but for what a garbage collector has not yet got to
    const half = (part: number[]) => part.sort((a, b) => a - b)[Math.floor(part.length / 2)] ?? Number.NaN;
    const quarter = Math.floor(samples.length / 4);
    expect(half(samples.slice(-quarter))).toBeLessThan(half(samples.slice(quarter, 2 * quarter)) * 1.2);
    expect(files()).toBeLessThanOrEqual(1024);
    expect(gateway.lines().filter(({ level }) => level === "error")).toEqual([]);
    await expect
      .poll(async () => (await fetch(`http://127.0.0.1:${gateway.adminPort}/metrics`)).text())
      .toContain("bailiwick_gateway_open_calls 0\n");
    expect((await ask(gateway.port, { path: "/gpt/v1/models", method: "GET" })).status).toBe(200);
  });
});
