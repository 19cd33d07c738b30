import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { connect } from "../../../runtime/ssh/connect.ts";
import type { Connection } from "../../../runtime/ssh/connection.ts";
import { RemoteCommandError, UnreachableError } from "../../../runtime/ssh/errors.ts";
import { type UploadOptions, uploadComponent } from "../../../runtime/ssh/upload.ts";
import { type CuttingProxy, startCuttingProxy } from "./cutting-proxy.ts";
import { type LoopbackSshd, sshdMissing, startSshd, username } from "./loopback-sshd.ts";
import { makeKey, type TestKey } from "./test-keys.ts";

const missing =
  sshdMissing ?? (existsSync("/usr/bin/zstd") ? undefined : "not run: zstd is not installed (apt-get install zstd)");
if (missing !== undefined) console.log(missing);

const COMPONENT = "c0ffee".repeat(11).slice(0, 64);

describe.skipIf(missing)("uploadComponent, to the real sshd", () => {
  let dir: string;
  let root: string;
  let host: TestKey;
  let ada: TestKey;
  let server: LoopbackSshd;
  let proxy: CuttingProxy;
  let connection: Connection;
  let path: string;
  let archive: UploadOptions["archive"];
  let payload: Buffer;

  const login = (port: number) =>
    connect({
      host: "127.0.0.1",
      port,
      username,
      identity: ada.identity,
      trust: { kind: "pinned", hostKey: host.publicKey },
    });

  const describeArchive = (file: string) => {
    const bytes = readFileSync(file);
    return { sha256: createHash("sha256").update(bytes).digest("hex"), bytes: bytes.length };
  };

  const upload = (changed: Partial<UploadOptions> = {}) =>
    uploadComponent({ connection, component: COMPONENT, archive, path, root, sudo: false, ...changed });

  const final = () => join(root, "components", COMPONENT);
  const part = () => join(root, "incoming", `${archive.sha256}.part`);

  /** Everything below root that is not the component itself. */
  const rest = () =>
    existsSync(root)
      ? readdirSync(root, { recursive: true })
          .map(String)
          .filter((name) => !["components", "incoming"].includes(name) && !name.startsWith(`components/${COMPONENT}/`))
          .filter((name) => name !== `components/${COMPONENT}`)
      : [];

  function whole() {
    expect(readFileSync(join(final(), "data")).equals(payload)).toBe(true);
    expect(readFileSync(join(final(), "bin/link"), "utf8")).toBe("#!/bin/sh\n");
    expect(rest()).toEqual([]);
  }

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "bailiwick-test-"));
    host = makeKey(dir, "host");
    ada = makeKey(dir, "ada");
    server = await startSshd({ directory: dir, hostKey: host.path, authorized: [ada.publicKey] });
    proxy = await startCuttingProxy(server.port);
    connection = await login(server.port);
    const tree = join(dir, "tree");
    mkdirSync(join(tree, "bin"), { recursive: true });
    payload = randomBytes(3_000_000);
    writeFileSync(join(tree, "data"), payload, { mode: 0o644 });
    writeFileSync(join(tree, "bin/run"), "#!/bin/sh\n");
    chmodSync(join(tree, "bin/run"), 0o4777);
    symlinkSync("run", join(tree, "bin/link"));
    path = join(dir, "component.tar.zst");
    execFileSync("tar", [
      "--zstd",
      "-cf",
      path,
      "--owner=1234",
      "--group=1234",
      "--mtime=@1000000000",
      "-C",
      tree,
      ".",
    ]);
    archive = describeArchive(path);
  });
  afterAll(async () => {
    await connection?.close();
    await proxy?.stop();
    await server?.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  beforeEach(() => {
    root = join(mkdtempSync(join(dir, "host-")), "opt");
  });

  const pipeIn = (tree: string): string[] => {
    execFileSync("mkfifo", [join(tree, "pipe")]);
    return [];
  };

  it("brings it whole: ours to own, nothing setuid, times as packed; then it is there", async () => {
    const seen: number[] = [];
    const result = await upload({ progress: ({ sent }) => seen.push(sent) });
    expect(result).toEqual({ outcome: "uploaded", sent: archive.bytes, resumedAt: 0 });
    whole();
    const run = statSync(join(final(), "bin/run"));
    expect(run.mode & 0o7777).toBe(0o755);
    expect(run.uid).toBe(process.getuid?.());
    expect(run.mtimeMs).toBe(1_000_000_000_000);
    expect(lstatSync(join(final(), "bin/link")).isSymbolicLink()).toBe(true);
    expect(seen.at(-1)).toBe(archive.bytes);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(await upload({ path: "/nonexistent" })).toEqual({ outcome: "present", sent: 0, resumedAt: 0 });
  });

  /** An upload that is cut for real once this many bytes of it have reached the host's disk. */
  async function cutUploadAt(bytes: number): Promise<void> {
    const before = existsSync(part()) ? statSync(part()).size : 0;
    const doomed = await login(proxy.port);
    // what SSH adds to each packet, and the packet that is not whole, never reach the disk
    proxy.holdAfter(bytes - before + 100_000);
    const attempt = upload({ connection: doomed });
    const reached = async () => {
      while (!existsSync(part()) || statSync(part()).size < bytes) await sleep(10);
      proxy.cut();
    };
    await Promise.all([expect(attempt).rejects.toThrow(UnreachableError), reached()]);
    expect(existsSync(final())).toBe(false);
  }

  it.each([1, 700_000, 1_500_000, 2_700_000])("goes on after a connection that was cut at %i bytes", async (at) => {
    await cutUploadAt(at);
    const result = await upload();
    expect(result.outcome).toBe("uploaded");
    expect(result.resumedAt).toBeGreaterThanOrEqual(at);
    expect(result.sent).toBeGreaterThanOrEqual(archive.bytes - result.resumedAt);
    whole();
  });

  it("goes on after several cuts in a row", async () => {
    for (const at of [900_000, 1_800_000]) await cutUploadAt(at);
    expect((await upload()).resumedAt).toBeGreaterThanOrEqual(1_800_000);
    whole();
  });

  it("waits for the receiver of a connection that was cut a moment ago", async () => {
    const doomed = await login(proxy.port);
    const attempt = upload({ connection: doomed });
    // the first chunk has left: the receiver is being started
    proxy.holdAfter(400_000);
    setTimeout(proxy.cut, 50);
    await expect(attempt).rejects.toThrow(UnreachableError);
    expect((await upload()).outcome).toBe("uploaded");
    whole();
  });

  it("only unpacks what had arrived whole", async () => {
    mkdirSync(join(root, "incoming"), { recursive: true });
    writeFileSync(part(), readFileSync(path));
    expect(await upload()).toEqual({ outcome: "uploaded", sent: 0, resumedAt: archive.bytes });
    whole();
  });

  it.each([
    ["other bytes", (bytes: Buffer) => Buffer.concat([Buffer.from("corrupt"), bytes.subarray(7, 1_000_000)])],
    ["too many bytes", (bytes: Buffer) => Buffer.concat([bytes, Buffer.from("more")])],
    [
      "one flipped bit at its end",
      (bytes: Buffer) => Buffer.concat([bytes.subarray(0, -1), Buffer.from([(bytes.at(-1) ?? 0) ^ 1])]),
    ],
  ])("starts afresh from a part with %s", async (_title, corrupt) => {
    mkdirSync(join(root, "incoming"), { recursive: true });
    const left = corrupt(readFileSync(path));
    writeFileSync(part(), left);
    const result = await upload();
    expect(result).toEqual({
      outcome: "uploaded",
      sent: archive.bytes + Math.max(0, archive.bytes - left.length),
      resumedAt: left.length,
    });
    whole();
  });

  it("does not touch the host for an archive that is not the one described", async () => {
    await expect(upload({ archive: { ...archive, sha256: "0".repeat(64) } })).rejects.toThrow("has sha256");
    await expect(upload({ archive: { ...archive, bytes: 5 } })).rejects.toThrow("bytes, expected 5");
    expect(existsSync(root)).toBe(false);
  });

  it("gives up on an archive that changes while it is sent, and leaves nothing", async () => {
    const changing = join(dir, "changing.tar.zst");
    // more than is read ahead of what has been sent
    const bytes = 8 * 1024 * 1024;
    writeFileSync(changing, randomBytes(bytes));
    const flip = () => writeFileSync(changing, randomBytes(bytes));
    let first = true;
    const attempt = upload({
      path: changing,
      archive: describeArchive(changing),
      progress: () => {
        if (first) flip();
        first = false;
      },
    });
    await expect(attempt).rejects.toThrow("changed meanwhile");
    expect(rest()).toEqual([]);
  });

  it.each<[string, (tree: string) => string[]]>([
    ["a name with ..", (tree) => ["--transform=s,^file,../escaped,", "-C", tree, "file"]],
    ["an absolute name", (tree) => ["-P", "--transform=s,^file,/tmp/bailiwick-escaped,", "-C", tree, "file"]],
    ["a pipe", (tree) => [...pipeIn(tree), "-C", tree, "."]],
  ])("refuses an archive with %s and leaves nothing unpacked", async (_title, make) => {
    const tree = mkdtempSync(join(dir, "bad-"));
    writeFileSync(join(tree, "file"), "x");
    const bad = join(tree, "..", `${COMPONENT}.bad.tar.zst`);
    execFileSync("tar", ["--zstd", "-cf", bad, ...make(tree)]);
    await expect(upload({ path: bad, archive: describeArchive(bad) })).rejects.toThrow(RemoteCommandError);
    expect(readdirSync(join(root, "components"))).toEqual([]);
    expect(existsSync("/tmp/bailiwick-escaped")).toBe(false);
  });

  it("refuses an archive that is none", async () => {
    const bad = join(dir, "none.tar.zst");
    writeFileSync(bad, "no archive");
    await expect(upload({ path: bad, archive: describeArchive(bad) })).rejects.toThrow("tar:");
    expect(readdirSync(join(root, "components"))).toEqual([]);
  });

  it("clears what a crash while unpacking left", async () => {
    const left = join(root, "components", `${COMPONENT}.new.0123456789abcdef`);
    mkdirSync(left, { recursive: true });
    await upload();
    expect(existsSync(left)).toBe(false);
    whole();
  });

  it("by two at once brings it once", async () => {
    const results = await Promise.allSettled([upload(), upload()]);
    expect(results.some((result) => result.status === "fulfilled")).toBe(true);
    for (const result of results)
      if (result.status === "rejected") expect(String(result.reason)).toContain("try again");
    await upload();
    whole();
  });

  it.each([
    ["component", { component: "../../etc" }],
    ["root", { root: "/opt/$(id)" }],
    ["root", { root: "/opt/../etc" }],
    ["archive.sha256", { archive: { sha256: "x' ; id", bytes: 1 } }],
    ["archive.bytes", { archive: { sha256: "0".repeat(64), bytes: Number.NaN } }],
  ])("refuses a %s that is none: %j", async (field, changed) => {
    await expect(upload(changed)).rejects.toThrow(`${field}: received`);
  });
});
