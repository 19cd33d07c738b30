import { readFile, stat } from "node:fs/promises";
import type { AnyAuthMethod } from "ssh2";
import ssh2 from "ssh2";
import { AuthenticationError } from "./errors.ts";
import { parsePublicKey, parsePublicKeyBlob } from "./public-key.ts";

/** How an admin proves who they are: a private key file, or one key of an ssh-agent. */
export type Identity =
  | {
      readonly kind: "file";
      /** Unencrypted OpenSSH ed25519 private key, readable by its owner alone. */
      readonly path: string;
    }
  | {
      readonly kind: "agent";
      /** The agent's socket, as in `SSH_AUTH_SOCK`. */
      readonly socket: string;
      /** The one key of the agent to use: `ssh-ed25519 AAAA… comment`. */
      readonly publicKey: string;
    };

/** An identity ready to be offered: the private key is in memory only, or stays in its agent. */
export interface Credential {
  /** `ssh-ed25519 AAAA…`. */
  readonly publicKey: string;
  readonly fingerprint: string;
  /** What ssh2 is to offer for this user. */
  offer(username: string): AnyAuthMethod;
}

/**
 * Reads an identity.
 * @throws AuthenticationError if the file is missing, open to others, encrypted or no ed25519 key, if the agent does not
 * answer or does not hold the key; each says what to do
 */
export async function loadCredential(identity: Identity): Promise<Credential> {
  return identity.kind === "file" ? fromFile(identity.path) : fromAgent(identity.socket, identity.publicKey);
}

async function fromFile(path: string): Promise<Credential> {
  const text = await readPrivate(path);
  const parsed = ssh2.utils.parseKey(text);
  if (parsed instanceof Error) {
    if (/encrypted|passphrase/i.test(parsed.message))
      throw new AuthenticationError(
        `${path}: the private key is encrypted; load it into an agent with \`ssh-add ${path}\` and use that`,
      );
    throw new AuthenticationError(`${path}: ${parsed.message}; expected an OpenSSH ed25519 private key`);
  }
  if (!parsed.isPrivateKey())
    throw new AuthenticationError(`${path}: received a public key; give the path of the private one`);
  if (parsed.type !== "ssh-ed25519")
    throw new AuthenticationError(`${path}: received a key of type ${parsed.type}; only ssh-ed25519 is taken`);
  const key = parsePublicKeyBlob(parsed.getPublicSSH());
  return {
    publicKey: key.line,
    fingerprint: key.fingerprint,
    offer: (username) => ({ type: "publickey", username, key: parsed }),
  };
}

async function readPrivate(path: string): Promise<Buffer> {
  try {
    const info = await stat(path);
    // ssh-keygen, which signs attestations with this file, refuses it too
    if (info.uid === process.getuid?.() && (info.mode & 0o077) !== 0)
      throw new AuthenticationError(`${path}: others can read this private key; \`chmod 600 ${path}\``);
    return await readFile(path);
  } catch (error) {
    if (error instanceof AuthenticationError) throw error;
    throw new AuthenticationError(
      `cannot read the private key: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

async function fromAgent(socket: string, publicKey: string): Promise<Credential> {
  const key = parsePublicKey(publicKey);
  if (key.type !== "ssh-ed25519")
    throw new AuthenticationError(
      `${key.fingerprint} is a security key, which the SSH library cannot log in with; use an ssh-ed25519 key`,
    );
  const agent = new OneKeyAgent(socket, key.blob);
  await new Promise<void>((resolve, reject) => {
    agent.getIdentities((error, keys) => {
      if (error) reject(new AuthenticationError(`ssh-agent at ${socket}: ${error.message}; is it running?`));
      else if ((keys?.length ?? 0) === 0)
        reject(new AuthenticationError(`ssh-agent at ${socket} does not hold ${key.fingerprint}; add it with ssh-add`));
      else resolve();
    });
  });
  return {
    publicKey: key.line,
    fingerprint: key.fingerprint,
    offer: (username) => ({ type: "agent", username, agent }),
  };
}

/** An agent that shows only the wanted key, so that no other is ever offered to a host. */
class OneKeyAgent extends ssh2.OpenSSHAgent {
  readonly #blob: Buffer;
  constructor(socket: string, blob: Buffer) {
    super(socket);
    this.#blob = blob;
  }
  override getIdentities(callback: Parameters<InstanceType<typeof ssh2.OpenSSHAgent>["getIdentities"]>[0]): void {
    super.getIdentities((error, keys) => {
      if (error) callback(error);
      else
        callback(
          undefined,
          keys?.filter((key) => "getPublicSSH" in key && key.getPublicSSH().equals(this.#blob)) ?? [],
        );
    });
  }
}
