import { execFileSync, spawnSync } from "node:child_process";
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  ATTESTATION_NAMESPACE,
  type Expectation,
  type Statement,
  signAttestation,
  statementText,
  verifyAttestation,
} from "../../../runtime/ssh/attestation.ts";
import { parsePublicKey } from "../../../runtime/ssh/public-key.ts";
import { parseSignature, signatureHolds } from "../../../runtime/ssh/sshsig.ts";
import { wireString } from "../../../runtime/ssh/wire.ts";
import { makeKey, type TestKey } from "./test-keys.ts";

let dir: string;
let ada: TestKey;
let bob: TestKey;
let mallory: TestKey;
let host: TestKey;
let other: TestKey;
let banner: string;
let statement: Statement;
let expected: Expectation;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "bailiwick-test-"));
  [ada, bob, mallory, host, other] = ["ada", "bob", "mallory", "host", "other"].map((n) => makeKey(dir, n)) as [
    TestKey,
    TestKey,
    TestKey,
    TestKey,
    TestKey,
  ];
  statement = {
    admin: "ada",
    at: "2026-01-02T03:04:05.678Z",
    host: "ops",
    hostKey: host.publicKey,
    instance: "i-0123",
  };
  expected = {
    admins: { ada: `${ada.publicKey} ada@example.com`, bob: bob.publicKey },
    host: "ops",
    instance: "i-0123",
    hostKey: host.publicKey,
  };
  banner = await signAttestation({ statement, identity: ada.identity });
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** What ssh-keygen says of the same bytes. */
function sshKeygenAccepts(text: string, admin: string, publicKey: string): boolean {
  const [line = "", ...armor] = text.split("\n");
  writeFileSync(join(dir, "allowed"), `${admin} ${publicKey}\n`);
  writeFileSync(join(dir, "sig"), armor.join("\n"));
  const args = [
    "-Y",
    "verify",
    "-f",
    join(dir, "allowed"),
    "-I",
    admin,
    "-n",
    ATTESTATION_NAMESPACE,
    "-s",
    join(dir, "sig"),
  ];
  return spawnSync("ssh-keygen", args, { input: line }).status === 0;
}

/** ssh-keygen's signature over any text, in any namespace. */
function signed(text: string, key: TestKey, namespace = ATTESTATION_NAMESPACE, ...options: string[]): string {
  const args = ["-Y", "sign", "-n", namespace, "-f", key.path, ...options];
  return `${text}\n${execFileSync("ssh-keygen", args, { input: text, encoding: "utf8", stdio: ["pipe", "pipe", "ignore"] })}`;
}

describe("statement", () => {
  it("is canonical JSON on one line, whatever the order and the key's comment", () => {
    const text = statementText({ ...statement, hostKey: `${host.publicKey} root@host` });
    expect(text).toBe(
      `{"admin":"ada","at":"2026-01-02T03:04:05.678Z","host":"ops","hostKey":"${host.publicKey}","instance":"i-0123"}`,
    );
  });

  it.each([
    ["admin", 'ada","x":"'],
    ["at", "yesterday"],
    ["host", "ops\nops"],
    ["instance", ""],
    ["instance", "i 1"],
  ])("refuses %s %j", (field, value) => {
    expect(() => statementText({ ...statement, [field]: value })).toThrow(`statement.${field}: received`);
  });

  it("refuses a host key that is none, or of another type", () => {
    expect(() => statementText({ ...statement, hostKey: "ssh-rsa AAAA" })).toThrow("received");
    expect(() => statementText({ ...statement, hostKey: `${host.publicKey}\nx` })).toThrow("received");
  });
});

describe("attestation", () => {
  it("made by ssh-keygen holds, here and for ssh-keygen", () => {
    expect(verifyAttestation(banner, expected)).toEqual({ ok: true, admin: "ada" });
    expect(sshKeygenAccepts(banner, "ada", ada.publicKey)).toBe(true);
    expect(sshKeygenAccepts(banner, "ada", bob.publicKey)).toBe(false);
    expect(banner.length).toBeLessThan(1024);
  });

  it("may be by any of the admins, with either hash", () => {
    const text = statementText({ ...statement, admin: "bob" });
    expect(verifyAttestation(signed(text, bob), expected)).toEqual({ ok: true, admin: "bob" });
    const sha256 = signed(text, bob, ATTESTATION_NAMESPACE, "-O", "hashalg=sha256");
    expect(verifyAttestation(sha256, expected)).toEqual({ ok: true, admin: "bob" });
  });

  const refusals: [string, string, () => string | null][] = [
    ["no banner", "absent", () => null],
    ["an empty banner", "absent", () => ""],
    ["a greeting", "malformed", () => "Welcome!\nAuthorised use only.\n"],
    ["a truncated one", "malformed", () => banner.slice(0, -20)],
    ["one cut within the statement", "malformed", () => banner.slice(0, 40)],
    ["one with something after it", "malformed", () => `${banner}x\n`],
    ["one with something before it", "malformed", () => ` ${banner}`],
    ["an oversized one", "malformed", () => `${banner}${"\n".repeat(8192)}`],
    ["another spelling of the statement", "malformed", () => signed(JSON.stringify({ ...statement, extra: 1 }), ada)],
    ["JSON of another shape", "malformed", () => signed("[]", ada)],
    ["null for a statement", "malformed", () => signed("null", ada)],
    [
      "one in the name of a stranger",
      "not-an-admin",
      () => signed(statementText({ ...statement, admin: "mallory" }), mallory),
    ],
    [
      "one in the name of `constructor`",
      "not-an-admin",
      () => signed(statementText({ ...statement, admin: "constructor" }), mallory),
    ],
    ["a stranger's in the name of an admin", "not-an-admin", () => signed(statementText(statement), mallory)],
    ["one admin's in the name of another", "not-an-admin", () => signed(statementText(statement), bob)],
    ["a changed statement", "bad-signature", () => banner.replace('"host":"ops"', '"host":"opt"')],
    [
      "a signature of another statement",
      "bad-signature",
      () => `${statementText(statement)}\n${signed("x", ada).slice(2)}`,
    ],
    ["a signature for another purpose", "bad-signature", () => signed(statementText(statement), ada, "git")],
    ["one for another host", "other-host", () => signed(statementText({ ...statement, host: "opt" }), ada)],
    [
      "one for another instance",
      "other-instance",
      () => signed(statementText({ ...statement, instance: "i-0124" }), ada),
    ],
    ["one for another key", "other-key", () => signed(statementText({ ...statement, hostKey: other.publicKey }), ada)],
  ];
  it.each(refusals)("refuses %s: %s", (_title, reason, make) => {
    expect(verifyAttestation(make(), expected)).toMatchObject({ ok: false, reason });
  });

  it("refuses every single changed character, and agrees with ssh-keygen on changed signatures", () => {
    const flips = [...banner].map((c, at) => `${banner.slice(0, at)}${c === "A" ? "B" : "A"}${banner.slice(at + 1)}`);
    for (const changed of flips) expect(verifyAttestation(changed, expected)).toMatchObject({ ok: false });
    const start = banner.indexOf("\n") + 30;
    for (let at = start; at < banner.length - 40; at += 24)
      expect(sshKeygenAccepts(flips[at] ?? "", "ada", ada.publicKey)).toBe(false);
  });

  it("is refused when signed with a key that is not the admin's own: signing checks itself", async () => {
    const made = await signAttestation({ statement, identity: mallory.identity });
    expect(verifyAttestation(made, expected)).toMatchObject({ ok: false, reason: "not-an-admin" });
  });

  it("leaves no temporary file", async () => {
    const ours = () => readdirSync(tmpdir()).filter((name) => name.startsWith("bailiwick-sign-"));
    const before = ours();
    const identity = { kind: "agent", socket: join(dir, "no-agent"), publicKey: ada.publicKey } as const;
    await expect(signAttestation({ statement, identity })).rejects.toThrow("ssh-agent");
    expect(ours()).toEqual(before);
  });
});

describe("security keys", () => {
  /** A security key in software: what the hardware would sign, as OpenSSH's PROTOCOL.u2f says. */
  function securityKey() {
    const pair = generateKeyPairSync("ed25519");
    const point = pair.publicKey.export({ format: "der", type: "spki" }).subarray(-32);
    const type = "sk-ssh-ed25519@openssh.com";
    const blob = Buffer.concat([wireString(type), wireString(point), wireString("ssh:")]);
    const sha = (name: string, data: string | Uint8Array) => createHash(name).update(data).digest();
    const attest = (text: string, flags: number) => {
      const body = [wireString(ATTESTATION_NAMESPACE), wireString(""), wireString("sha512")];
      const toSign = Buffer.concat([Buffer.from("SSHSIG"), ...body, wireString(sha("sha512", text))]);
      const seen = Buffer.from([flags, 0, 0, 0, 7]);
      const raw = sign(null, Buffer.concat([sha("sha256", "ssh:"), seen, sha("sha256", toSign)]), pair.privateKey);
      const signature = Buffer.concat([wireString(type), wireString(raw), seen]);
      const all = [Buffer.from("SSHSIG"), Buffer.from([0, 0, 0, 1]), wireString(blob), ...body, wireString(signature)];
      const lines =
        Buffer.concat(all)
          .toString("base64")
          .match(/.{1,70}/g) ?? [];
      return `${text}\n-----BEGIN SSH SIGNATURE-----\n${lines.join("\n")}\n-----END SSH SIGNATURE-----\n`;
    };
    return { publicKey: `${type} ${blob.toString("base64")}`, attest };
  }

  it("attest too, and ssh-keygen agrees", () => {
    const key = securityKey();
    const made = key.attest(statementText(statement), 0x01);
    const admins = { ada: key.publicKey };
    expect(sshKeygenAccepts(made, "ada", key.publicKey)).toBe(true);
    expect(verifyAttestation(made, { ...expected, admins })).toEqual({ ok: true, admin: "ada" });
    expect(verifyAttestation(made.replace("ops", "opt"), { ...expected, admins })).toMatchObject({
      reason: "bad-signature",
    });
  });

  it("are refused when nobody touched them", () => {
    const key = securityKey();
    const made = key.attest(statementText(statement), 0x00);
    expect(verifyAttestation(made, { ...expected, admins: { ada: key.publicKey } })).toMatchObject({
      reason: "bad-signature",
    });
  });
});

describe("the signature format", () => {
  it("binds the namespace", () => {
    const armor = banner.slice(banner.indexOf("\n") + 1);
    const signature = parseSignature(armor);
    expect(signature.signer.fingerprint).toBe(ada.fingerprint);
    expect(signatureHolds(signature, statementText(statement), ATTESTATION_NAMESPACE)).toBe(true);
    expect(signatureHolds(signature, statementText(statement), "file")).toBe(false);
    expect(signatureHolds({ ...signature, namespace: "file" }, statementText(statement), "file")).toBe(false);
  });

  it("takes public keys of one line only", () => {
    expect(parsePublicKey(`${ada.publicKey} a comment`).fingerprint).toBe(ada.fingerprint);
    for (const line of ["", "ssh-ed25519", `${ada.publicKey}AAAA`, `from="*" ${ada.publicKey}`, `${ada.publicKey}\n`])
      expect(() => parsePublicKey(line)).toThrow("received");
  });
});
