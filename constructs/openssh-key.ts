import { generateKeyPairSync, randomBytes } from "node:crypto";

// The format is OpenSSH's PROTOCOL.key, unencrypted: what ssh-keygen writes with an empty passphrase. Node.js writes
// ed25519 private keys as PKCS#8 only, which sshd does not read.

const MAGIC = Buffer.from("openssh-key-v1\0");
const TYPE = "ssh-ed25519";
const BEGIN = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END = "-----END OPENSSH PRIVATE KEY-----";

/** An ed25519 key pair for SSH. */
export interface SshKeyPair {
  /** One line without newline: `ssh-ed25519 AAAA…`, followed by the comment if it has one. */
  readonly publicKey: string;
  /** OpenSSH PEM, unencrypted, with a newline after every line. Secret. */
  readonly privateKey: string;
}

/** A new key pair; `comment` is free text without spaces, empty for none. */
export function generateSshKeyPair(comment: string): SshKeyPair {
  const jwk = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  const publicHalf = Buffer.from(jwk.x ?? "", "base64url");
  const seed = Buffer.from(jwk.d ?? "", "base64url");
  const blob = Buffer.concat([string(TYPE), string(publicHalf)]);
  const check = randomBytes(4);
  const secret = Buffer.concat([
    check,
    check,
    string(TYPE),
    string(publicHalf),
    string(Buffer.concat([seed, publicHalf])),
    string(comment),
  ]);
  // Padded with 1, 2, 3 … to the block size of the cipher "none", which is 8.
  const padding = Buffer.from(Array.from({ length: (8 - (secret.length % 8)) % 8 }, (_, i) => i + 1));
  const key = Buffer.concat([
    MAGIC,
    string("none"),
    string("none"),
    string(""),
    uint32(1),
    string(blob),
    string(Buffer.concat([secret, padding])),
  ]);
  const lines = key.toString("base64").match(/.{1,70}/g) ?? [];
  const line = `${TYPE} ${blob.toString("base64")}`;
  return {
    publicKey: comment === "" ? line : `${line} ${comment}`,
    privateKey: `${[BEGIN, ...lines, END].join("\n")}\n`,
  };
}

/**
 * The public half of an OpenSSH private key, `<type> <base64>`; it stands in clear even when the key is encrypted.
 * @throws if the text is no OpenSSH private key
 */
export function publicHalf(privateKey: string): string {
  const body = privateKey.split(BEGIN)[1]?.split(END)[0];
  const key = Buffer.from((body ?? "").replaceAll(/\s/g, ""), "base64");
  if (!key.subarray(0, MAGIC.length).equals(MAGIC)) throw new Error("no OpenSSH private key");
  let at = MAGIC.length;
  const next = (): Buffer => {
    const end = at + 4 + key.readUInt32BE(at);
    if (end > key.length) throw new Error("a truncated OpenSSH private key");
    const field = key.subarray(at + 4, end);
    at = end;
    return field;
  };
  for (const _ of ["cipher", "kdf", "kdf options"]) next();
  at += 4;
  const blob = next();
  const type = blob.subarray(4, 4 + blob.readUInt32BE(0)).toString();
  return `${type} ${blob.toString("base64")}`;
}

function uint32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32BE(value);
  return buffer;
}

function string(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([uint32(bytes.length), bytes]);
}
