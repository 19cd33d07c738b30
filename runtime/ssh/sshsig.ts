import { createHash, verify } from "node:crypto";
import { ed25519KeyObject, type PublicKey, parsePublicKeyBlob } from "./public-key.ts";
import { strictBase64, WireReader, wireString } from "./wire.ts";

// OpenSSH's PROTOCOL.sshsig, for ed25519 keys. Verified here and not by running ssh-keygen: what a stranger sent then
// reaches no other program, no file and no argument list, and the signer is compared with the admin's key byte for
// byte. The tests hold this against `ssh-keygen -Y sign` and `-Y verify`.

const MAGIC = Buffer.from("SSHSIG");
const BEGIN = "-----BEGIN SSH SIGNATURE-----\n";
const END = "-----END SSH SIGNATURE-----";
const USER_PRESENT = 0x01;

/** A parsed signature, not yet checked. */
export interface SshSignature {
  readonly signer: PublicKey;
  readonly namespace: string;
  readonly hash: "sha256" | "sha512";
  readonly reserved: Buffer;
  readonly signature: Buffer;
}

/** The signature in an armor of `ssh-keygen -Y sign`. @throws if the text is anything but one whole armor */
export function parseSignature(armor: string): SshSignature {
  const text = armor.endsWith("\n") ? armor.slice(0, -1) : armor;
  if (!text.startsWith(BEGIN) || !text.endsWith(`\n${END}`)) throw new Error("no whole SSH SIGNATURE armor");
  const body = text.slice(BEGIN.length, -END.length - 1);
  if (!/^[A-Za-z0-9+/=\n]+$/.test(body)) throw new Error("the armor holds characters other than base64");
  const reader = new WireReader(strictBase64(body.replaceAll("\n", "")));
  if (!reader.take(MAGIC.length).equals(MAGIC)) throw new Error("the signature does not start with SSHSIG");
  const version = reader.uint32();
  if (version !== 1) throw new Error(`signature version ${version}; only 1 is known`);
  const signer = parsePublicKeyBlob(reader.string());
  const namespace = reader.text();
  const reserved = reader.string();
  const hash = reader.text();
  const signature = reader.string();
  reader.end();
  if (hash !== "sha256" && hash !== "sha512") throw new Error("unknown hash in the signature");
  return { signer, namespace, hash, reserved, signature };
}

/**
 * Whether the signature was made over `message` by the key it names. Who that key belongs to is the caller's question.
 * A security key must have seen its user (`-O no-touch-required` signatures are refused).
 */
export function signatureHolds(sig: SshSignature, message: string, namespace: string): boolean {
  if (sig.namespace !== namespace) return false;
  const signed = Buffer.concat([
    MAGIC,
    wireString(sig.namespace),
    wireString(sig.reserved),
    wireString(sig.hash),
    wireString(createHash(sig.hash).update(message).digest()),
  ]);
  try {
    const reader = new WireReader(sig.signature);
    if (reader.text() !== sig.signer.type) return false;
    const raw = reader.string();
    if (raw.length !== 64) return false;
    if (sig.signer.type === "ssh-ed25519") {
      reader.end();
      return verify(null, signed, ed25519KeyObject(sig.signer), raw);
    }
    const flags = reader.take(1);
    const counter = reader.take(4);
    reader.end();
    if (((flags[0] ?? 0) & USER_PRESENT) === 0) return false;
    const sha256 = (data: Uint8Array | string) => createHash("sha256").update(data).digest();
    const assertion = Buffer.concat([sha256(sig.signer.application), flags, counter, sha256(signed)]);
    return verify(null, assertion, ed25519KeyObject(sig.signer), raw);
  } catch {
    return false;
  }
}
