import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connect } from "../../../runtime/ssh/connect.ts";
import type { Connection } from "../../../runtime/ssh/connection.ts";
import { CommandTimeoutError, UnreachableError } from "../../../runtime/ssh/errors.ts";
import { LineChannel } from "../../../runtime/ssh/line-channel.ts";
import { shellQuote } from "../../../runtime/ssh/shell-quote.ts";
import { type CuttingProxy, startCuttingProxy } from "./cutting-proxy.ts";
import { type LoopbackSshd, sshdMissing, startSshd, username } from "./loopback-sshd.ts";
import { startManInTheMiddle } from "./man-in-the-middle.ts";
import { makeKey, type TestKey } from "./test-keys.ts";

describe.skipIf(sshdMissing)("commands, on the real sshd", () => {
  let dir: string;
  let host: TestKey;
  let ada: TestKey;
  let server: LoopbackSshd;
  let proxy: CuttingProxy;
  let connection: Connection;

  const login = (port: number) =>
    connect({
      host: "127.0.0.1",
      port,
      username,
      identity: ada.identity,
      trust: { kind: "pinned", hostKey: host.publicKey },
    });

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "bailiwick-test-"));
    host = makeKey(dir, "host");
    ada = makeKey(dir, "ada");
    server = await startSshd({ directory: dir, hostKey: host.path, authorized: [ada.publicKey] });
    proxy = await startCuttingProxy(server.port);
    connection = await login(server.port);
  });
  afterAll(async () => {
    await connection?.close();
    await proxy?.stop();
    await server?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  it("give code, stdout and stderr", async () => {
    expect(await connection.exec("echo out; echo err >&2; exit 7")).toEqual({
      code: 7,
      signal: null,
      stdout: "out\n",
      stderr: "err\n",
    });
    expect(await connection.exec("true")).toEqual({ code: 0, signal: null, stdout: "", stderr: "" });
    expect(await connection.exec("kill -9 $$")).toMatchObject({ code: null, signal: "KILL" });
  });

  it("answer line by line, in order, until they end or the connection does", async () => {
    const echo = new LineChannel(await connection.stream("sed -u 's/^/got /'"));
    expect(await Promise.all([echo.ask("one"), echo.ask("zwölf"), echo.ask("x".repeat(300_000))])).toEqual([
      "got one",
      "got zwölf",
      `got ${"x".repeat(300_000)}`,
    ]);
    echo.end();

    const once = new LineChannel(await connection.stream("read line; echo $line; echo no more >&2; exit 3"));
    expect(await once.ask("first")).toBe("first");
    await expect(once.ask("second")).rejects.toThrow("no more");
    await expect(once.ask("third")).rejects.toThrow("no more");

    const through = await login(proxy.port);
    const silent = new LineChannel(await through.stream("sleep 60"));
    const asked = silent.ask("anything");
    proxy.cut();
    await expect(asked).rejects.toThrow(UnreachableError);
  });

  it("have no stdin unless given, and text as UTF-8", async () => {
    expect(await connection.exec("cat")).toMatchObject({ stdout: "" });
    expect(await connection.exec("cat", { stdin: "grüße ✓\n" })).toMatchObject({ stdout: "grüße ✓\n" });
  });

  it("pass every byte both ways, exactly", async () => {
    const bytes = Buffer.concat([Buffer.from(Array.from({ length: 256 }, (_, i) => i)), randomBytes(3_000_001)]);
    const chunks: Buffer[] = [];
    const result = await connection.exec("cat", { stdin: bytes, onStdout: (chunk) => void chunks.push(chunk) });
    expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
    expect(Buffer.byteLength(result.stdout)).toBeGreaterThan(0);
    const errors: Buffer[] = [];
    await connection.exec("cat >&2", { stdin: bytes, onStderr: (chunk) => void errors.push(chunk) });
    expect(Buffer.concat(errors).equals(bytes)).toBe(true);
  });

  it("take 50 MB of stdin, reading ahead only what the host has room for", async () => {
    const block = randomBytes(250_000);
    const hash = createHash("sha256");
    let read = 0;
    async function* source() {
      for (let i = 0; i < 200; i += 1) {
        read += block.length;
        hash.update(block);
        yield block;
      }
    }
    const running = connection.exec("sleep 0.5; sha256sum", { stdin: source() });
    await sleep(400);
    expect(read).toBeLessThan(10_000_000);
    expect(await running).toMatchObject({ code: 0, stdout: `${hash.digest("hex")}  -\n` });
    expect(read).toBe(50_000_000);
  });

  it("wait for a slow reader of stdout", async () => {
    let seen = 0;
    let busy = 0;
    await connection.exec("head -c 20000000 /dev/zero", {
      onStdout: async (chunk) => {
        busy += 1;
        expect(busy).toBe(1);
        if (seen < 200_000) await sleep(5);
        seen += chunk.length;
        busy -= 1;
      },
    });
    expect(seen).toBe(20_000_000);
  });

  it("keep only the end of what a callback was given", async () => {
    const result = await connection.exec("head -c 200000 /dev/zero | tr '\\0' a; printf end", { onStdout: () => {} });
    expect(result.stdout).toHaveLength(64 * 1024);
    expect(result.stdout.endsWith("aend")).toBe(true);
  });

  it("may end without reading their stdin", async () => {
    let returned = false;
    async function* endless() {
      try {
        for (;;) yield Buffer.alloc(100_000);
      } finally {
        returned = true;
      }
    }
    expect(await connection.exec("exit 3", { stdin: endless() })).toMatchObject({ code: 3 });
    expect(returned).toBe(true);
    const never = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) };
    expect(await connection.exec("exit 4", { stdin: never })).toMatchObject({ code: 4 });
  });

  it("fail with their stdin's or callback's error", async () => {
    async function* broken() {
      yield Buffer.from("x");
      throw new Error("the disk is gone");
    }
    await expect(connection.exec("cat", { stdin: broken() })).rejects.toThrow("the disk is gone");
    const onStdout = () => Promise.reject(new Error("not wanted"));
    await expect(connection.exec("echo x; sleep 5", { onStdout })).rejects.toThrow("not wanted");
    expect(await connection.exec("echo still here")).toMatchObject({ code: 0 });
  });

  it("are given up after their time, and when aborted, and the connection serves on", async () => {
    const slow = "sleep 5";
    await expect(connection.exec(slow, { timeoutMs: 100 })).rejects.toThrow(CommandTimeoutError);
    const abort = new AbortController();
    setTimeout(() => abort.abort(new Error("enough")), 100);
    await expect(connection.exec(slow, { signal: abort.signal })).rejects.toThrow("enough");
    await expect(connection.exec("true", { signal: abort.signal })).rejects.toThrow("enough");
    expect(await connection.exec("echo still here")).toMatchObject({ stdout: "still here\n" });
  });

  it("run side by side", async () => {
    const results = await Promise.all([1, 2, 3, 4].map((n) => connection.exec(`sleep 0.2; echo ${n}`)));
    expect(results.map((r) => r.stdout)).toEqual(["1\n", "2\n", "3\n", "4\n"]);
  });

  it("as a stream talk both ways", async () => {
    const stream = await connection.stream('while read -r line; do echo "got $line"; done; echo bye >&2; exit 5');
    const answers: string[] = [];
    let errors = "";
    stream.stderr.on("data", (chunk: Buffer) => {
      errors += chunk;
    });
    for (const word of ["one", "two"]) {
      stream.write(`${word}\n`);
      const [answer] = await new Promise<[Buffer]>((resolve) => stream.once("data", (chunk) => resolve([chunk])));
      answers.push(answer.toString());
    }
    stream.end();
    expect(await stream.exited).toEqual({ code: 5, signal: null });
    expect(answers).toEqual(["got one\n", "got two\n"]);
    // how it ended may be told before the last that it said
    await expect.poll(() => errors).toBe("bye\n");
  });

  it("fail when the connection is lost, and later ones at once", async () => {
    const doomed = await login(proxy.port);
    const running = doomed.exec("cat >/dev/null; sleep 30", { stdin: Buffer.alloc(5_000_000) });
    const relay = await doomed.stream("cat");
    proxy.holdAfter(1_000_000);
    setTimeout(proxy.cut, 100);
    await expect(running).rejects.toThrow(UnreachableError);
    await expect(relay.exited).rejects.toThrow("was lost");
    await expect(doomed.exec("true")).rejects.toThrow(UnreachableError);
    await expect(doomed.stream("true")).rejects.toThrow(UnreachableError);
    await doomed.close();
  });

  it("fail after close", async () => {
    const other = await login(server.port);
    const relay = await other.stream("cat");
    await other.close();
    await other.close();
    await expect(relay.exited).rejects.toThrow("is closed");
    await expect(other.exec("true")).rejects.toThrow("is closed");
  });
});

describe("a command that is over at once", () => {
  it("tells how it ended, although that comes together with its start", async () => {
    const dir = mkdtempSync(join(tmpdir(), "bailiwick-test-"));
    const host = makeKey(dir, "host");
    const server = await startManInTheMiddle({ hostKey: host.path });
    const connection = await connect({
      host: "127.0.0.1",
      port: server.port,
      username,
      identity: makeKey(dir, "ada").identity,
      trust: { kind: "pinned", hostKey: host.publicKey },
    });
    try {
      for (let n = 0; n < 20; n += 1) {
        expect(await connection.exec("quick")).toEqual({ code: 0, signal: null, stdout: "", stderr: "" });
        expect(await (await connection.stream("quick")).exited).toEqual({ code: 0, signal: null });
      }
    } finally {
      await connection.close();
      await server.stop();
      rmSync(dir, { recursive: true, force: true });
    }
  });
});

describe("shellQuote", () => {
  it("makes one word of anything but NUL", () => {
    expect(shellQuote("a'b $(c)")).toBe("'a'\\''b $(c)'");
    expect(() => shellQuote("a\0b")).toThrow("NUL");
  });
});
