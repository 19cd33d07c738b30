import { spawn, spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { freePort } from "../../../runtime/local/port.ts";
import { type Statement, signAttestation } from "../../../runtime/ssh/attestation.ts";
import { type ConnectOptions, connect } from "../../../runtime/ssh/connect.ts";
import { AuthenticationError, HostTrustError, UnreachableError } from "../../../runtime/ssh/errors.ts";
import type { Identity } from "../../../runtime/ssh/identity.ts";
import { parsePublicKey } from "../../../runtime/ssh/public-key.ts";
import { waitForSshBanner } from "../../../runtime/ssh/reachability.ts";
import { type BootstrapOrAttestedTrust, HostJudge, type Trust } from "../../../runtime/ssh/trust.ts";
import { type LoopbackSshd, sshdMissing, startSshd, username } from "./loopback-sshd.ts";
import { startManInTheMiddle } from "./man-in-the-middle.ts";
import { makeKey, type TestKey } from "./test-keys.ts";

let dir: string;
const key = {} as Record<"ada" | "decoy" | "stranger" | "host" | "bootstrap" | "attacker", TestKey>;
let statement: Statement;
let genuine: string;
const cleanups: (() => unknown)[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "bailiwick-test-"));
  for (const name of ["ada", "decoy", "stranger", "host", "bootstrap", "attacker"] as const)
    key[name] = makeKey(dir, name);
  statement = {
    admin: "ada",
    at: "2026-01-02T03:04:05.678Z",
    host: "ops",
    hostKey: key.host.publicKey,
    instance: "i-1",
  };
  genuine = await signAttestation({ statement, identity: key.ada.identity });
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function trust(
  changed: Partial<BootstrapOrAttestedTrust["attested"]> = {},
  bootstrap: string | null = key.bootstrap.publicKey,
): Trust {
  const attested = { admins: { ada: key.ada.publicKey }, host: "ops", instance: "i-1", ...changed };
  return { kind: "bootstrap-or-attested", bootstrap, attested };
}

async function sshd(options: { hostKey?: TestKey; banner?: string; extra?: string[] } = {}): Promise<LoopbackSshd> {
  const server = await startSshd({
    directory: dir,
    hostKey: (options.hostKey ?? key.host).path,
    authorized: [key.ada.publicKey],
    banner: options.banner,
    extra: options.extra ?? [],
  });
  cleanups.push(() => server.stop());
  return server;
}

async function middle(options: Omit<Parameters<typeof startManInTheMiddle>[0], "hostKey">) {
  const server = await startManInTheMiddle({ hostKey: key.attacker.path, ...options });
  cleanups.push(() => server.stop());
  return server;
}

async function login(port: number, how: Trust, options: Partial<ConnectOptions> = {}) {
  const connection = await connect({
    host: "127.0.0.1",
    port,
    username,
    identity: key.ada.identity,
    trust: how,
    ...options,
  });
  cleanups.push(() => connection.close());
  return connection;
}

/** The error of a login that must fail. */
async function refusal<E extends Error>(type: new (...args: never[]) => E, attempt: Promise<unknown>): Promise<E> {
  const error = await attempt.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(type);
  return error as E;
}

describe.skipIf(sshdMissing)("connect, to the real sshd", () => {
  it("takes the pinned key", async () => {
    const server = await sshd();
    const connection = await login(server.port, { kind: "pinned", hostKey: `${key.host.publicKey} comment` });
    expect(connection).toMatchObject({ contact: "pinned", hostKey: key.host.publicKey });
    expect(await connection.exec("echo in")).toMatchObject({ code: 0, stdout: "in\n" });
    expect(server.methods()).not.toContain("none");
  });

  it("refuses any other key before anything is sent, and says what to compare", async () => {
    const server = await sshd();
    const error = await refusal(
      HostTrustError,
      login(server.port, { kind: "pinned", hostKey: key.bootstrap.publicKey }),
    );
    expect(error.message).toBe(
      [
        `127.0.0.1:${server.port} is not trusted; no credential was offered`,
        `shown: host key ${key.host.fingerprint}`,
        `expected: host key ${key.bootstrap.fingerprint}`,
        `compare: on the machine's own console \`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub\` prints its real key; if that is not ${key.host.fingerprint}, another machine answers at this address`,
      ].join("\n"),
    );
    await waitForSshBanner({ host: "127.0.0.1", port: server.port, timeoutMs: 20_000 });
    expect(server.methods()).toEqual([]);
  });

  it("knows first contact by the bootstrap key, at once", async () => {
    const server = await sshd({ hostKey: key.bootstrap });
    expect(await login(server.port, trust())).toMatchObject({ contact: "first", hostKey: key.bootstrap.publicKey });
    expect(server.methods()).not.toContain("none");
  });

  it("takes an attested key later, on one connection", async () => {
    const server = await sshd({ banner: genuine });
    const connection = await login(server.port, trust());
    expect(connection).toMatchObject({ contact: "later", hostKey: key.host.publicKey });
    expect(await connection.exec("echo in")).toMatchObject({ stdout: "in\n" });
    expect(server.methods()).toEqual(["none", "publickey", "publickey"]);
    // one by the wait for sshd, one by the login
    expect(server.log().match(/Connection from /g)).toHaveLength(2);
  });

  it("refuses the bootstrap key once it is known to be spent", async () => {
    const server = await sshd({ hostKey: key.bootstrap });
    const error = await refusal(HostTrustError, login(server.port, trust({}, null)));
    expect(error.attestation).toMatchObject({ reason: "absent" });
    expect(error.message).toContain("not the bootstrap key, which is spent");
    expect(server.methods()).toEqual(["none"]);
  });

  const refusals: [string, string, () => Promise<string | undefined>, Partial<BootstrapOrAttestedTrust["attested"]>][] =
    [
      ["no banner", "absent", async () => undefined, {}],
      ["a plain banner", "malformed", async () => "Authorised use only\n", {}],
      ["a truncated attestation", "malformed", async () => genuine.slice(0, 300), {}],
      ["an oversized attestation", "malformed", async () => `${genuine}${"x".repeat(9000)}`, {}],
      ["a changed attestation", "bad-signature", async () => genuine.replace("i-1", "i-2"), {}],
      ["another host's attestation", "other-host", async () => genuine, { host: "dev" }],
      ["another instance's attestation", "other-instance", async () => genuine, { instance: "i-2" }],
      [
        "an attestation of another key",
        "other-key",
        async () =>
          signAttestation({
            statement: { ...statement, hostKey: key.bootstrap.publicKey },
            identity: key.ada.identity,
          }),
        {},
      ],
      [
        "an attestation by no admin",
        "not-an-admin",
        async () => signAttestation({ statement, identity: key.stranger.identity }),
        {},
      ],
    ];
  it.each(refusals)("refuses %s (%s) before the credential is offered", async (_title, reason, banner, changed) => {
    const made = await banner();
    const server = await sshd(made === undefined ? {} : { banner: made });
    const error = await refusal(HostTrustError, login(server.port, trust(changed)));
    expect(error.attestation?.reason).toBe(reason);
    expect(error.message).toContain(`shown: host key ${key.host.fingerprint}`);
    expect(error.message).toContain(
      `the bootstrap host key ${key.bootstrap.fingerprint}, or an attestation by ada for host "${changed.host ?? "ops"}"`,
    );
    expect(server.methods()).toEqual(["none"]);
  });

  it.each([
    ["key exchange", ["KexAlgorithms diffie-hellman-group14-sha256"]],
    ["cipher", ["Ciphers aes128-ctr"]],
  ])("offers no old %s, genuine banner or not", async (_title, extra) => {
    const server = await sshd({ banner: genuine, extra });
    const error = await refusal(UnreachableError, login(server.port, trust()));
    expect(error.message).toContain("no matching");
    expect(server.methods()).toEqual([]);
  });

  it("takes no host key of another type", async () => {
    const server = await sshd({ hostKey: makeKey(dir, "ecdsa", "ecdsa"), banner: genuine });
    expect((await refusal(UnreachableError, login(server.port, trust()))).message).toContain("host key format");
  });

  it("says so when the host does not take the key", async () => {
    const server = await sshd();
    const pinned = { kind: "pinned", hostKey: key.host.publicKey } as const;
    const error = await refusal(AuthenticationError, login(server.port, pinned, { identity: key.stranger.identity }));
    expect(error.message).toContain(`did not accept user "${username}" with key ${key.stranger.fingerprint}`);
  });

  it("logs in and signs with one key of an ssh-agent, and shows no other", async () => {
    const socket = join(dir, "agent");
    const agent = spawn("ssh-agent", ["-D", "-a", socket], { stdio: ["ignore", "pipe", "ignore"] });
    cleanups.push(() => agent.kill());
    await new Promise((resolve) => agent.stdout.once("data", resolve));
    for (const name of ["decoy", "ada"] as const)
      expect(
        spawnSync("ssh-add", ["-q", key[name].path], { env: { ...process.env, SSH_AUTH_SOCK: socket } }).status,
      ).toBe(0);
    const identity = { kind: "agent", socket, publicKey: `${key.ada.publicKey} ada@example.com` } as const;
    const banner = await signAttestation({ statement, identity });
    const server = await sshd({ banner });
    expect(await login(server.port, trust(), { identity })).toMatchObject({ contact: "later" });
    expect(server.log()).toContain(key.ada.fingerprint);
    expect(server.methods()).toEqual(["none", "publickey", "publickey"]);
    expect(server.log()).not.toContain(key.decoy.fingerprint);
    const missing = { ...identity, publicKey: key.stranger.publicKey };
    const error = await refusal(AuthenticationError, login(server.port, trust(), { identity: missing }));
    expect(error.message).toContain(`does not hold ${key.stranger.fingerprint}`);
  });
});

describe("connect, to a machine in the middle", () => {
  it("offers nothing at first contact", async () => {
    const attacker = await middle({});
    const error = await refusal(HostTrustError, login(attacker.port, trust()));
    expect(error.shownFingerprint).toBe(key.attacker.fingerprint);
    expect(attacker.attempts).toEqual([{ method: "none" }]);
  });

  it("offers nothing to a replayed attestation with another key", async () => {
    const attacker = await middle({ banner: genuine });
    const error = await refusal(HostTrustError, login(attacker.port, trust()));
    expect(error.attestation).toEqual({
      reason: "other-key",
      detail: `ada vouched for ${key.host.fingerprint}, another key than the one shown`,
    });
    expect(attacker.attempts).toEqual([{ method: "none" }]);
  });

  it("runs nothing where everybody is let in unasked", async () => {
    const attacker = await middle({ banner: genuine, acceptNone: true });
    const error = await refusal(
      HostTrustError,
      login(attacker.port, trust()).then((c) => c.exec("secret")),
    );
    expect(error.message).toContain("let the user in without asking for a key");
    expect(attacker.commands).toEqual([]);
  });

  it.each<[string, () => Trust]>([
    ["pinned", () => ({ kind: "pinned", hostKey: key.host.publicKey })],
    ["attested", () => trust()],
    ["bootstrap", () => trust({}, key.host.publicKey)],
  ])("offers nothing to a public key without its private key (%s)", async (_title, how) => {
    const attacker = await middle({ banner: genuine, pretendToBe: parsePublicKey(key.host.publicKey).blob });
    await refusal(UnreachableError, login(attacker.port, how()));
    expect(attacker.attempts).toEqual([]);
  });

  it("offers nothing where another key is pinned", async () => {
    const attacker = await middle({ banner: genuine });
    await refusal(HostTrustError, login(attacker.port, { kind: "pinned", hostKey: key.host.publicKey }));
    expect(attacker.attempts).toEqual([]);
  });

  it("would have offered the key, had the machine been trusted: the record is not blind", async () => {
    const attacker = await middle({});
    await login(attacker.port, { kind: "pinned", hostKey: key.attacker.publicKey });
    const offered = { method: "publickey", key: key.ada.publicKey.split(" ")[1] };
    expect(attacker.attempts).toContainEqual(offered);
  });
});

describe("the judge", () => {
  it("refuses a second key within one connection", () => {
    const judge = new HostJudge(trust(), "example.com:22");
    const show = judge.verifier();
    const blob = (k: TestKey) => parsePublicKey(k.publicKey).blob;
    expect(show(blob(key.attacker))).toBe(true);
    expect(show(blob(key.bootstrap))).toBe(false);
    expect(judge.contact).toBe(null);
    expect(judge.failure?.message).toContain(`in a second key exchange the host showed ${key.bootstrap.fingerprint}`);
  });

  it("lets the credential be offered once", () => {
    const judge = new HostJudge({ kind: "pinned", hostKey: key.host.publicKey }, "example.com:22");
    judge.verifier()(parsePublicKey(key.host.publicKey).blob);
    expect([judge.mayOffer(), judge.mayOffer()]).toEqual([true, false]);
  });

  it("refuses a second banner", () => {
    const judge = new HostJudge(trust(), "example.com:22");
    judge.verifier()(parsePublicKey(key.host.publicKey).blob);
    judge.hear("hello");
    judge.hear(genuine);
    expect(judge.mayOffer()).toBe(false);
    expect(judge.failure?.attestation).toMatchObject({ reason: "malformed" });
  });

  it("refuses a malformed pin or admin before anything is sent", () => {
    expect(() => new HostJudge({ kind: "pinned", hostKey: "SHA256:x" }, "")).toThrow("received");
    expect(() => new HostJudge(trust({ admins: { ada: "x" } }), "")).toThrow("received");
  });
});

describe("reaching a host", () => {
  const pin = (): Trust => ({ kind: "pinned", hostKey: key.host.publicKey });

  it("says when nothing listens", async () => {
    const port = await freePort();
    expect((await refusal(UnreachableError, login(port, pin()))).message).toContain("ECONNREFUSED");
    await refusal(UnreachableError, waitForSshBanner({ host: "127.0.0.1", port, timeoutMs: 300 }));
  });

  it("says when what listens is silent, or is no sshd", async () => {
    for (const greeting of ["", "HTTP/1.1 400 Bad Request\r\n\r\n"]) {
      const server = createServer((socket) => socket.on("error", () => {}).write(greeting));
      const port = await freePort();
      await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
      cleanups.push(() => server.close());
      await refusal(UnreachableError, login(port, pin(), { timeoutMs: 300 }));
      await refusal(UnreachableError, waitForSshBanner({ host: "127.0.0.1", port, timeoutMs: 300 }));
    }
  });

  it("waits for a host that comes later", async () => {
    const port = await freePort();
    const waiting = waitForSshBanner({ host: "127.0.0.1", port, timeoutMs: 5000 });
    const server = createServer((socket) => socket.on("error", () => {}).write("SSH-2.0-Late\r\n"));
    setTimeout(() => server.listen(port, "127.0.0.1"), 250);
    cleanups.push(() => server.close());
    expect(await waiting).toBe("SSH-2.0-Late");
  });

  it("waits longer for a host that accepts and is slow to speak", async () => {
    const port = await freePort();
    let calls = 0;
    const server = createServer((socket) => {
      calls++;
      socket.on("error", () => {});
      setTimeout(() => socket.write("SSH-2.0-Slow\r\n"), 3500);
    });
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    cleanups.push(() => server.close());
    expect(await waitForSshBanner({ host: "127.0.0.1", port, timeoutMs: 20_000 })).toBe("SSH-2.0-Slow");
    expect(calls).toBe(2);
  });
});

describe("identities", () => {
  const attempt = (identity: Identity) =>
    refusal(AuthenticationError, login(1, { kind: "pinned", hostKey: key.host.publicKey }, { identity }));

  it("are refused with what to do", async () => {
    const open = join(dir, "open");
    copyFileSync(key.ada.path, open);
    chmodSync(open, 0o644);
    expect((await attempt({ kind: "file", path: open })).message).toContain("chmod 600");
    expect((await attempt({ kind: "file", path: join(dir, "none") })).message).toContain("ENOENT");
    const locked = join(dir, "locked");
    spawnSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "a passphrase", "-f", locked]);
    expect((await attempt({ kind: "file", path: locked })).message).toContain("ssh-add");
    const ecdsa = makeKey(dir, "ecdsa-identity", "ecdsa");
    expect((await attempt(ecdsa.identity)).message).toContain("only ssh-ed25519");
    chmodSync(`${key.ada.path}.pub`, 0o600);
    expect((await attempt({ kind: "file", path: `${key.ada.path}.pub` })).message).toContain("path of the private one");
  });
});
