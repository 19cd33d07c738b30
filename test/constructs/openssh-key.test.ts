import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { generateSshKeyPair, publicHalf } from "../../constructs/openssh-key.ts";

describe("an OpenSSH key pair", () => {
  let folder: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bailiwick-key-"));
  });

  afterAll(() => rmSync(folder, { recursive: true }));

  function keygen(...args: string[]): string {
    return execFileSync("ssh-keygen", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
  }

  // The lengths of the comment go through every length of padding.
  it.each(["", "a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg"])(
    'is read by ssh-keygen, comment "%s"',
    (comment) => {
      const { publicKey, privateKey } = generateSshKeyPair(comment);
      const file = join(folder, `key-${comment}`);
      writeFileSync(file, privateKey, { mode: 0o600 });
      expect(keygen("-y", "-f", file)).toBe(publicKey);
    },
  );

  it("signs what its public half verifies", () => {
    const { publicKey, privateKey } = generateSshKeyPair("operator");
    const file = join(folder, "signer");
    writeFileSync(file, privateKey, { mode: 0o600 });
    writeFileSync(join(folder, "message"), "message");
    keygen("-Y", "sign", "-f", file, "-n", "test", join(folder, "message"));
    writeFileSync(join(folder, "signers"), `ada ${publicKey}\n`);
    const signature = join(folder, "message.sig");
    const options = ["-f", join(folder, "signers"), "-I", "ada", "-n", "test", "-s", signature];
    const verified = execFileSync("ssh-keygen", ["-Y", "verify", ...options], { input: "message", encoding: "utf8" });
    expect(verified).toContain('Good "test" signature for ada');
    expect(() => execFileSync("ssh-keygen", ["-Y", "verify", ...options], { input: "other", stdio: "pipe" })).toThrow();
  });

  it("is another one each time", () => {
    expect(generateSshKeyPair("").privateKey).not.toBe(generateSshKeyPair("").privateKey);
  });

  it("tells its public half, also when ssh-keygen made it and with a passphrase", () => {
    const pair = generateSshKeyPair("");
    expect(publicHalf(pair.privateKey)).toBe(pair.publicKey);
    const file = join(folder, "locked");
    keygen("-q", "-t", "ed25519", "-N", "passphrase", "-C", "", "-f", file);
    expect(publicHalf(execFileSync("cat", [file], { encoding: "utf8" }))).toBe(
      execFileSync("cat", [`${file}.pub`], { encoding: "utf8" }).trim(),
    );
  });

  it.each(["", "no key", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"])(
    "is refused when it is none: %j",
    (text) => {
      expect(() => publicHalf(text)).toThrow("no OpenSSH private key");
    },
  );
});
