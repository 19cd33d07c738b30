import { createHash, createPublicKey, type KeyObject } from "node:crypto";
import { strictBase64, WireReader } from "./wire.ts";

/** An ed25519 public key, held by a file or agent (`ssh-ed25519`) or by a security key (`sk-ssh-ed25519@openssh.com`). */
export interface PublicKey {
  readonly type: "ssh-ed25519" | "sk-ssh-ed25519@openssh.com";
  /** The key as SSH sends it. */
  readonly blob: Buffer;
  /** `<type> <base64>`, without a comment. */
  readonly line: string;
  /** `SHA256:` and unpadded base64, as `ssh-keygen -l` prints it. */
  readonly fingerprint: string;
  /** The 32 bytes of the point. */
  readonly point: Buffer;
  /** What a security key was enrolled for, `ssh:`; empty for the other type. */
  readonly application: string;
}

/** The key of a line `<type> <base64> [comment]`. @throws if it is anything else, saying what was received */
export function parsePublicKey(line: string): PublicKey {
  const match = /^(\S{1,40}) ([A-Za-z0-9+/]{1,512}={0,2})( [^\r\n]{0,256})?$/.exec(line);
  if (match?.[1] === undefined || match[2] === undefined)
    throw new Error(`received ${JSON.stringify(line.slice(0, 80))}; expected one public key line: ssh-ed25519 AAAA…`);
  try {
    const key = parsePublicKeyBlob(strictBase64(match[2]));
    if (key.type !== match[1]) throw new Error(`the line says ${match[1]}, its key is ${key.type}`);
    return key;
  } catch (error) {
    throw new Error(`received ${JSON.stringify(line.slice(0, 80))}; ${reason(error)}`);
  }
}

/** The key of a blob as SSH sends it. @throws if it is no ed25519 key */
export function parsePublicKeyBlob(blob: Uint8Array): PublicKey {
  const reader = new WireReader(blob);
  const type = reader.text();
  if (type !== "ssh-ed25519" && type !== "sk-ssh-ed25519@openssh.com")
    throw new Error(`key type ${JSON.stringify(type.slice(0, 40))}; only ed25519 keys are taken`);
  const point = reader.string();
  if (point.length !== 32) throw new Error(`an ed25519 key has 32 bytes, not ${point.length}`);
  const application = type === "ssh-ed25519" ? "" : reader.text();
  reader.end();
  const bytes = Buffer.from(blob);
  return {
    type,
    blob: bytes,
    line: `${type} ${bytes.toString("base64")}`,
    fingerprint: fingerprint(bytes),
    point: Buffer.from(point),
    application,
  };
}

/** The host key of a line. @throws unless it is `ssh-ed25519`, the one type a host may have */
export function parseHostKey(line: string): PublicKey {
  const key = parsePublicKey(line);
  if (key.type !== "ssh-ed25519") throw new Error(`received a host key of type ${key.type}; expected ssh-ed25519`);
  return key;
}

/** `SHA256:…` of a key blob. */
export function fingerprint(blob: Uint8Array): string {
  return `SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/, "")}`;
}

/** The key for node:crypto. */
export function ed25519KeyObject(key: PublicKey): KeyObject {
  return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: key.point.toString("base64url") }, format: "jwk" });
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
