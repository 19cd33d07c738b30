import { createServer, type Server } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { forwardArguments } from "../../../runtime/local/forward.ts";
import { isFree, MACHINE_PORTS, portCandidates } from "../../../runtime/local/port.ts";
import { listensOn } from "../../../runtime/local/processes.ts";
import { namesOf } from "../../../runtime/local/slot.ts";
import { sshAnswers, waitForSsh } from "../../../runtime/local/ssh-banner.ts";
import { pastaArguments, pastaUnit } from "../../../runtime/local/uplink.ts";

if (process.platform !== "linux") console.log("not run: whose port it is, is read from Linux's /proc");

let server: Server | undefined;
afterEach(() => new Promise<void>((done) => (server ? server.close(() => done()) : done())));

function serve(greeting: string, afterMs = 0): Promise<number> {
  return new Promise((resolve) => {
    server = createServer((socket) => {
      socket.on("error", () => undefined);
      if (greeting !== "") setTimeout(() => socket.end(greeting), afterMs);
    });
    server.listen(0, "127.0.0.1", () => {
      const address = server?.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}

describe("ports", () => {
  it("begin with the one the machine had, then go round all of them once, from a place of the slot's own", () => {
    const all = [...portCandidates("0a1b2c3d-0000", 25000)];
    expect(all[0]).toBe(25000);
    expect(new Set(all).size).toBe(all.length);
    expect(all.length).toBe(MACHINE_PORTS.last - MACHINE_PORTS.first + 1);
    expect(Math.min(...all)).toBe(MACHINE_PORTS.first);
    expect(portCandidates("0a1b2c3d-0000").next().value).not.toBe(portCandidates("0a1b2c3e-0000").next().value);
    expect(portCandidates("ffffffff-0000").next().value).toBe(portCandidates("ffffffff-1111").next().value);
  });

  it("are free only when nobody listens there", async () => {
    const port = await serve("");
    expect(await isFree(port)).toBe(false);
    await new Promise<void>((done) => server?.close(() => done()));
    server = undefined;
    expect(await isFree(port)).toBe(true);
  });

  it.skipIf(process.platform !== "linux")("are told from another process's", async () => {
    const port = await serve("");
    expect(listensOn(process.pid, port)).toBe(true);
    expect(listensOn(process.ppid, port)).toBe(false);
    expect(listensOn(process.pid, port === 21000 ? 21001 : 21000)).toBe(false);
  });
});

describe("the wait for SSH", () => {
  it("takes an SSH server's line, and nothing else that is said", async () => {
    expect(await sshAnswers(await serve("SSH-2.0-x\r\n"), 1000)).toBe(true);
    expect(await sshAnswers(await serve("HTTP/1.1 400\r\n"), 1000)).toBe(false);
  });

  it("does not take a port that accepts and is silent, and ends in time", async () => {
    const port = await serve("");
    const start = Date.now();
    expect(await waitForSsh(port, start + 300, () => true)).toBe(false);
    expect(Date.now() - start).toBeLessThan(10_000);
  });

  it("waits longer each time for a server that is slow to speak, and hangs up on it less often", async () => {
    const port = await serve("SSH-2.0-x\r\n", 3000);
    let calls = 0;
    server?.on("connection", () => calls++);
    expect(await waitForSsh(port, Date.now() + 20_000, () => true)).toBe(true);
    expect(calls).toBeLessThanOrEqual(3);
  });

  it("ends at once when the machine is gone", async () => {
    expect(await waitForSsh(1, Date.now() + 60_000, () => false)).toBe(false);
  });
});

describe("the way in and out of a machine's namespace", () => {
  const names = namesOf("0a1b2c3d-0000");

  it("lets pasta forward nothing, neither inwards nor to the operator's loopback", () => {
    const text = pastaArguments(names).join(" ");
    expect(text).toContain("-t none -u none -T none -U none");
    expect(text).toContain("--no-map-gw");
    expect(text).toContain("--netns /run/netns/bw-0a1b2c3d");
  });

  it("starts pasta outside Debian's AppArmor profile of it, which would keep it from the namespace and from its log", () => {
    expect(pastaUnit(names).properties).toContain("AppArmorProfile=unconfined");
  });

  it("opens its one port on loopback alone, and leads it to the guest's sshd", () => {
    const text = forwardArguments(names, 22001).join(" ");
    expect(text).toMatch(/^systemd-socket-activate -l 127\.0\.0\.1:22001 nsenter --net=\/run\/netns\/bw-0a1b2c3d /);
    expect(text).toMatch(/ 127\.0\.0\.1:22$/);
  });
});
