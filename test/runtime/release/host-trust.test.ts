import { mkdtempSync, rmSync } from "node:fs";
import { createServer, connect as dial, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { freePort } from "../../../runtime/local/port.ts";
import { connectToHost } from "../../../runtime/release/host-trust.ts";
import { UnreachableError } from "../../../runtime/ssh/errors.ts";
import { sampleSubject } from "../policy/judged.ts";
import { type LoopbackSshd, sshdMissing, startSshd, username } from "../ssh/loopback-sshd.ts";
import { makeKey, type TestKey } from "../ssh/test-keys.ts";

describe.skipIf(sshdMissing)("connecting to a host", () => {
  let dir: string;
  let hostKey: TestKey;
  let operator: TestKey;
  let sshd: LoopbackSshd;
  let restarting: Server | undefined;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "bailiwick-test-"));
    hostKey = makeKey(dir, "host");
    operator = makeKey(dir, "ada");
    sshd = await startSshd({ directory: dir, hostKey: hostKey.path, authorized: [operator.publicKey] });
  });
  afterEach(() => restarting?.close());
  afterAll(async () => {
    await sshd.stop();
    rmSync(dir, { recursive: true });
  });

  /** What hangs up on the first connections, as a server does that is being restarted; then the real one. */
  async function hangsUp(times: number): Promise<{ port: number; met: () => number }> {
    let met = 0;
    const server = createServer((socket) => {
      met += 1;
      if (met <= times) return socket.resetAndDestroy();
      const behind = dial(sshd.port, "127.0.0.1");
      for (const end of [socket, behind]) end.on("error", () => {});
      socket.pipe(behind).pipe(socket);
    });
    restarting = server;
    const port = await freePort();
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    return { port, met: () => met };
  }

  const connectTo = (port: number) => {
    const { spec } = sampleSubject();
    const machine = { kind: "local", slot: "slot", instance: "one" } as const;
    const bindings = { bootstrap: { publicKey: hostKey.publicKey, claimedBy: "one" }, machine, values: {} };
    const identity = { kind: "file", path: operator.path } as const;
    return connectToHost({ ...{ host: "127.0.0.1", port, username, identity, spec, bindings }, timeoutMs: 10_000 });
  };

  it("whose sshd is just being restarted is tried again", async () => {
    const { port, met } = await hangsUp(2);
    const connection = await connectTo(port);
    expect((await connection.exec("echo there")).stdout).toBe("there\n");
    await connection.close();
    expect(met()).toBe(3);
  });

  it("that hangs up again and again is given up, with what was met", async () => {
    const { port, met } = await hangsUp(100);
    await expect(connectTo(port)).rejects.toThrow(UnreachableError);
    expect(met()).toBe(4);
  });
});
