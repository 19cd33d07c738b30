import type { ServerResponse } from "node:http";
import { connect } from "node:net";
import { beforeEach, describe, expect, it } from "vitest";
import { NO_LIMITS } from "../../../../runtime/policy/models/schema.ts";
import { ask, chat, open, whole } from "./client.ts";
import { configFor, launch, PROVIDER_KEY, type RunningGateway, startGateway, until } from "./program.ts";
import { OPENAI_EVENTS, provider, startUpstream } from "./test-upstream.ts";

const upstream = await startUpstream();
beforeEach(() => {
  upstream.behave(provider);
  upstream.received.length = 0;
});

const path = "/gpt/v1/chat/completions";
const good = configFor(upstream.url);
const status = async (gateway: RunningGateway, model: string) =>
  (await ask(gateway.port, { path, body: chat(model) })).status;

/** A stream through the gateway that has begun, and the upstream's end of it. */
async function openStream(gateway: RunningGateway) {
  let down: ServerResponse | undefined;
  upstream.behave((_, res) => {
    down = res;
    res.writeHead(200, { "content-type": "text/event-stream" }).write(OPENAI_EVENTS[0]);
  });
  const response = await open(gateway.port, { path, body: chat() }).response;
  upstream.behave(provider);
  if (down === undefined) throw new Error("no stream");
  return { response, rest: whole(response), down };
}

const [gpt] = good.routes.filter((route) => route.name === "gpt");
if (gpt === undefined) throw new Error("the configuration has no route gpt");
const withRoute = (change: object) => ({ ...good, routes: [{ ...gpt, ...change }] });

const bad: [string, unknown, RegExp][] = [
  ["is no JSON", "{", /gateway\.json: is not valid JSON/],
  ["has an unknown key", { ...good, admin: true }, /document: .*admin/],
  ["listens everywhere", { ...good, listen: { host: "0.0.0.0", port: 0, adminPort: 0 } }, /listen\.host/],
  [
    "has an impossible port",
    { ...good, listen: { host: "127.0.0.1", port: 70000, adminPort: 0 } },
    /listen\.port: received 70000/,
  ],
  ["has a limit of 0", { ...good, limits: { ...good.limits, idleTimeoutMs: 0 } }, /limits\.idleTimeoutMs: received 0/],
  ["has an unknown provider", withRoute({ provider: "other" }), /routes\.0\.provider/],
  ["reaches http elsewhere", withRoute({ upstream: "http://10.0.0.5" }), /upstream: received "http:\/\/10.0.0.5"/],
  ["reaches http on localhost by name", withRoute({ upstream: "http://localhost:1" }), /upstream/],
  ["has a password in a url", withRoute({ upstream: "https://a:b@api.example.com" }), /upstream/],
  ["climbs in a url", withRoute({ upstream: "https://api.example.com/a/../b" }), /no \. or \.\./],
  ["has a query in a url", withRoute({ upstream: "https://api.example.com/?x=1" }), /upstream/],
  ["names a credential elsewhere", withRoute({ credential: "../gateway.json" }), /credential: .*plain file name/],
  [
    "names a credential that is not there",
    withRoute({ credential: "absent" }),
    /credential absent: cannot read .*ENOENT/,
  ],
  ["has a route with a slash", withRoute({ name: "a/b" }), /routes\.0\.name/],
  ["has a route twice", { ...good, routes: [gpt, gpt] }, /routes\.1\.name: "gpt" occurs twice/],
  ["grants to an agent without a key", { ...good, keys: good.keys.slice(1) }, /agent "ops" has no key/],
  [
    "has one key for two agents",
    { ...good, keys: good.keys.map((k) => ({ ...k, sha256: ["a".repeat(64)] })) },
    /own key/,
  ],
  [
    "has one agent twice",
    { ...good, keys: [...good.keys, { agent: "ops", sha256: ["b".repeat(64)] }] },
    /occurs twice/,
  ],
];

describe("at start", () => {
  it.each(bad)("a configuration that %s ends it with exit status 1 and a reason", async (_, config, reason) => {
    const { exited, output } = launch(config);
    expect(await exited).toBe(1);
    expect(output()).toMatch(/^model-gateway: /);
    expect(output()).toMatch(reason);
    expect(output()).not.toMatch(/ at .*\.cjs:/);
  });

  it.each([
    ["empty", ""],
    ["of more than one line", "one-canary-key\ntwo"],
    ["short", "short"],
  ])("a provider's key that is %s ends it, without being shown", async (_, key) => {
    const { exited, output } = launch(good, { key });
    expect(await exited).toBe(1);
    expect(output()).toMatch(/credential provider-key: received \d+ characters/);
    expect(output()).not.toContain("canary");
  });

  it("needs $CREDENTIALS_DIRECTORY when a route has a credential, and not otherwise", async () => {
    const env = { CREDENTIALS_DIRECTORY: "" };
    const without = launch(good, { env });
    expect(await without.exited).toBe(1);
    expect(without.output()).toContain("CREDENTIALS_DIRECTORY is not set");
    const gateway = await startGateway(withRoute({ credential: null }), { env });
    expect(await status(gateway, "gpt-5.6")).toBe(200);
    expect(upstream.received[0]?.headers.authorization).toBeUndefined();
  });

  it("a port that is taken ends it with a reason", async () => {
    const { exited, output } = launch({ ...good, listen: { host: "127.0.0.1", port: upstream.port, adminPort: 0 } });
    expect(await exited).toBe(1);
    expect(output()).toContain(`cannot listen on 127.0.0.1:${upstream.port} (EADDRINUSE)`);
  });

  it("listens on 127.0.0.1 alone", async () => {
    const gateway = await startGateway(good);
    const reached = (host: string) =>
      new Promise((resolve) => {
        const socket = connect(gateway.port, host, () => resolve(true));
        socket.on("connect", () => socket.destroy());
        socket.on("error", () => resolve(false));
      });
    expect(await reached("127.0.0.1")).toBe(true);
    expect(await reached("127.0.0.2")).toBe(false);
    expect(await reached("::1")).toBe(false);
  });
});

describe("SIGHUP", () => {
  it("applies a new configuration and a new key at once, and leaves open streams alone", async () => {
    const gateway = await startGateway(good);
    const { rest, down } = await openStream(gateway);
    expect([await status(gateway, "gpt-5.6"), await status(gateway, "gpt-7")]).toEqual([200, 403]);

    gateway.configure(withRoute({ grants: [{ agent: "ops", models: ["gpt-7"], limits: NO_LIMITS }] }));
    gateway.setKey("sk-canary-second-key");
    gateway.signal("SIGHUP");
    await until(() => gateway.output().includes('"msg":"reloaded"'), "the reload");
    expect([await status(gateway, "gpt-5.6"), await status(gateway, "gpt-7")]).toEqual([403, 200]);
    expect(upstream.received.at(-1)?.headers.authorization).toBe("Bearer sk-canary-second-key");
    expect((await ask(gateway.port, { path: "/claude/v1/messages", body: "{}" })).status).toBe(404);

    for (const event of OPENAI_EVENTS.slice(1)) down.write(event);
    down.end();
    expect((await rest).text).toBe(OPENAI_EVENTS.join(""));
    expect(gateway.output()).not.toContain("canary");
  });

  it("with a configuration that cannot be used keeps the old one whole, and says why", async () => {
    const gateway = await startGateway(good);
    const { rest, down } = await openStream(gateway);
    const refused = () => gateway.lines().filter((line) => line.msg === "reload refused, the old configuration stays");
    for (const [i, [what, config, reason]] of bad.entries()) {
      gateway.configure(config);
      gateway.signal("SIGHUP");
      await until(() => refused().length === i + 1, `the refusal of one that ${what}`);
      expect(String(refused().at(-1)?.problem), what).toMatch(reason);
      expect(await status(gateway, "gpt-5.6"), what).toBe(200);
    }
    gateway.configure({ ...good, listen: { host: "127.0.0.1", port: 1, adminPort: 0 } });
    gateway.signal("SIGHUP");
    await until(() => gateway.output().includes("listen.port changed; restart"), "the refusal of another port");
    gateway.configure(good);
    gateway.setKey("x");
    gateway.signal("SIGHUP");
    await until(() => gateway.output().includes("received 1 characters"), "the refusal of a bad key");
    expect(await status(gateway, "gpt-5.6")).toBe(200);
    expect(upstream.received.at(-1)?.headers.authorization).toBe(`Bearer ${PROVIDER_KEY}`);
    down.end();
    expect((await rest).text).toBe(OPENAI_EVENTS[0]);
  });
});

describe("SIGTERM", () => {
  it("takes no new connection, lets an open stream finish, and ends with exit status 0", async () => {
    const gateway = await startGateway(good);
    const { rest, down } = await openStream(gateway);
    gateway.signal("SIGTERM");
    await until(() => gateway.output().includes('"msg":"stopping"'), "the signal");
    await expect(ask(gateway.port, { method: "GET", path: "/healthz" })).rejects.toThrow("ECONNREFUSED");
    await new Promise((resolve) => setTimeout(resolve, 500));
    for (const event of OPENAI_EVENTS.slice(1)) down.write(event);
    down.end();
    expect((await rest).text).toBe(OPENAI_EVENTS.join(""));
    const ended = Date.now();
    expect(await gateway.exited).toBe(0);
    // what is still open is given 10 s
    expect(Date.now() - ended).toBeLessThan(8000);
    expect(gateway.lines().map((line) => line.msg)).toEqual(["started", "stopping", "call", "stopped"]);
  });

  it("ends at once when nothing is open, idle connections or not", async () => {
    const gateway = await startGateway(good);
    const idle = connect(gateway.port, "127.0.0.1");
    await new Promise((resolve) => idle.once("connect", resolve));
    const closed = new Promise((resolve) => idle.once("close", resolve));
    const started = Date.now();
    gateway.signal("SIGTERM");
    expect(await gateway.exited).toBe(0);
    await closed;
    expect(Date.now() - started).toBeLessThan(8000);
  });

  it("cuts what is still open after 10 s, and ends with exit status 0", async () => {
    const gateway = await startGateway(good);
    const { rest } = await openStream(gateway);
    const cut = expect(rest).rejects.toThrow("aborted");
    const started = Date.now();
    gateway.signal("SIGTERM");
    expect(await gateway.exited).toBe(0);
    await cut;
    expect(Date.now() - started).toBeGreaterThan(9_500);
    expect(Date.now() - started).toBeLessThan(20_000);
    expect(gateway.lines().find((line) => line.msg === "call")).toMatchObject({ outcome: "shutdown" });
  });
});
