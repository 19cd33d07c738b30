import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { Resolver } from "node:dns/promises";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

// The resolver of wildcards as it runs on a host, but for its uid, sandbox and firewall; asked by a real client (c-ares).

const PROGRAM = resolve(import.meta.dirname, "../../../runtime/policy/egress/templates/resolver.py");
const [OWN, OTHER, LATER] = [20_000, 20_001, 20_002].map((port) => port + (process.pid % 3000) * 3) as [
  number,
  number,
  number,
];

let folder: string;
let child: ChildProcess;
const file = (name: string, ports: Record<number, string[]>) => {
  writeFileSync(join(folder, name), JSON.stringify({ address: "192.0.2.1", ports }));
  return join(folder, name);
};
const take = (from: string) => spawnSync("python3", ["-I", PROGRAM, "take", from, join(folder, "reloads.json")]);
const reload = async (ports: Record<number, string[]>) => {
  expect(take(file("new.json", ports)).status).toBe(0);
  child.kill("SIGHUP");
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bailiwick-resolver-"));
  const config = file("names.json", { [OWN]: ["wild.test", "deep.wild.test"], [OTHER]: ["other.test"] });
  child = spawn("python3", ["-I", PROGRAM, "serve", config, join(folder, "reloads.json")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await new Promise<void>((ready, fail) => {
    child.stdout?.once("data", () => ready());
    child.once("exit", (code) => fail(new Error(`the resolver ended with ${code}`)));
  });
});
afterAll(() => {
  child.kill("SIGKILL");
  rmSync(folder, { recursive: true });
});

const ask = (name: string, type = "A", port = OWN) => {
  const client = new Resolver({ timeout: 2000, tries: 1 });
  client.setServers([`127.0.0.1:${port}`]);
  return client.resolve(name, type).then(
    (found) => found,
    (error: NodeJS.ErrnoException) => error.code,
  );
};
/** What is sent back to bytes; null if nothing is. */
const send = (bytes: Uint8Array, patience: number) =>
  new Promise<Buffer | null>((done) => {
    const socket = createSocket("udp4");
    const end = (answer: Buffer | null) => {
      clearTimeout(timer);
      socket.close();
      done(answer);
    };
    const timer = setTimeout(() => end(null), patience);
    socket.once("message", end);
    socket.send(bytes, OWN, "127.0.0.1");
  });

describe("the resolver of wildcards", () => {
  it("has one address for every name of one label below a granted one, in any case, and no other kind of record", async () => {
    for (const name of [
      "a.wild.test",
      "A-1.wILd.tesT",
      "xn--bcher-kva.wild.test",
      `${"x".repeat(63)}.wild.test`,
      "b.deep.wild.test",
    ])
      expect(await ask(name), name).toEqual(["192.0.2.1"]);
    for (const type of ["AAAA", "TXT", "MX", "NS", "CNAME"])
      expect(await ask("a.wild.test", type), type).toBe("ENODATA");
  });

  it.each([
    "wild.test",
    "test",
    "a.b.wild.test",
    "awild.test",
    "a.wild.test.test",
    "-a.wild.test",
    "a-.wild.test",
    "a_b.wild.test",
    "a.other.test",
    "other.example",
  ])("knows no %s", async (name) => {
    expect(await ask(name)).toBe("ENOTFOUND");
    expect(await ask(name, "TXT")).toBe("ENOTFOUND");
  });

  it("answers each principal by its own grants", async () => {
    expect(await ask("a.other.test", "A", OTHER)).toEqual(["192.0.2.1"]);
    expect(await ask("a.wild.test", "A", OTHER)).toBe("ENOTFOUND");
  });

  it("answers on after anything that is sent to it, in at most as many bytes and a record", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 600 }), async (bytes) => {
        const answer = await send(bytes, 30);
        expect(answer === null || answer.length <= Math.max(12, bytes.length) + 16).toBe(true);
      }),
      { numRuns: 60 },
    );
    const question = Buffer.from("000701000001000000000000", "hex");
    for (const rest of [
      "",
      "ff",
      "c00c00010001",
      "0161",
      "016100",
      "0161000001",
      `${"3f".padEnd(128, "61").repeat(5)}0000010001`,
    ])
      expect((await send(Buffer.concat([question, Buffer.from(rest, "hex")]), 2000))?.readUInt16BE(2), rest).toBe(
        0x8501,
      );
    expect(await ask("a.wild.test")).toEqual(["192.0.2.1"]);
  });

  it("says nothing to an answer, so that two of them could not go on for ever", async () => {
    expect(await send(Buffer.from("000781000001000000000000", "hex"), 200)).toBeNull();
  });

  it("takes other grants while it runs, and refuses a file that it could not serve", async () => {
    await reload({ [OWN]: ["new.test"], [LATER]: ["wild.test"] });
    for (let i = 0; i < 50 && (await ask("a.new.test")) === "ENOTFOUND"; i++);
    expect(await ask("a.new.test")).toEqual(["192.0.2.1"]);
    expect(await ask("a.wild.test")).toBe("ENOTFOUND");
    expect(await ask("a.wild.test", "A", LATER)).toEqual(["192.0.2.1"]);
    expect(await ask("a.other.test", "A", OTHER)).toBe("ECONNREFUSED");
    const before = readFileSync(join(folder, "reloads.json"), "utf8");
    writeFileSync(join(folder, "bad.json"), '{"address": "192.0.2.1", "ports": {"x": []}}');
    expect(take(join(folder, "bad.json")).status).not.toBe(0);
    expect(readFileSync(join(folder, "reloads.json"), "utf8")).toBe(before);
  });
});
