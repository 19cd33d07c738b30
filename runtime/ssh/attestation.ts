import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AttestationProblem } from "./errors.ts";
import { type Identity, loadCredential } from "./identity.ts";
import { parseHostKey, parsePublicKey } from "./public-key.ts";
import { parseSignature, type SshSignature, signatureHolds } from "./sshsig.ts";

/** SSHSIG namespace of attestations: a signature made for anything else never counts as one. */
export const ATTESTATION_NAMESPACE = "bailiwick-host-key";

/** Longest banner that is looked at, bytes. */
const MAX_BANNER_BYTES = 8192;

/** What an admin vouches for: this instance of this host has this key. */
export interface Statement {
  /** Name of the admin, as in the spec. */
  readonly admin: string;
  /** When it was signed: ISO 8601, UTC, as Date.toISOString writes it. */
  readonly at: string;
  /** Name of the host. */
  readonly host: string;
  /** `ssh-ed25519 AAAA…`, without a comment. */
  readonly hostKey: string;
  /** Id of the instance: a rebuilt machine has another. */
  readonly instance: string;
}

/** What an attestation must be about and who may have signed it. */
export interface Expectation {
  /** Public key lines by admin name. */
  readonly admins: Readonly<Record<string, string>>;
  readonly host: string;
  readonly instance: string;
  /** The key the connection showed: `ssh-ed25519 AAAA…`. */
  readonly hostKey: string;
}

export type AttestationVerdict =
  | { readonly ok: true; readonly admin: string }
  | { readonly ok: false; readonly reason: AttestationProblem; readonly detail: string };

const FIELDS: Readonly<Record<keyof Statement, RegExp>> = {
  admin: /^[a-z](?:-?[a-z0-9]){0,19}$/,
  at: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$/,
  host: /^[a-z](?:-?[a-z0-9]){0,19}$/,
  hostKey: /^ssh-ed25519 [A-Za-z0-9+/]+={0,2}$/,
  instance: /^[A-Za-z0-9._:/-]{1,128}$/,
};

/** The statement as it is signed and served: canonical JSON on one line, no newline. @throws if a field is not of its form */
export function statementText(statement: Statement): string {
  const { admin, at, host, instance } = statement;
  const hostKey = parseHostKey(statement.hostKey).line;
  for (const [field, value] of Object.entries({ admin, at, host, hostKey, instance }))
    if (!FIELDS[field as keyof Statement].test(value))
      throw new Error(
        `statement.${field}: received ${JSON.stringify(value)}; it must match ${FIELDS[field as keyof Statement].source}`,
      );
  return JSON.stringify({ admin, at, host, hostKey, instance });
}

/**
 * The attestation, ready to be sshd's banner: the statement, a newline, the armor of `ssh-keygen -Y sign`.
 * The private key stays in its file or agent.
 * @throws AuthenticationError if the identity cannot be used; Error if ssh-keygen fails or signed with another key
 */
export async function signAttestation(options: { statement: Statement; identity: Identity }): Promise<string> {
  const { statement, identity } = options;
  const text = statementText(statement);
  const { publicKey } = await loadCredential(identity);
  const banner = `${text}\n${await sign(text, identity)}`;
  const verdict = verifyAttestation(banner, { ...statement, admins: { [statement.admin]: publicKey } });
  if (!verdict.ok)
    throw new Error(`ssh-keygen made a signature that does not hold: ${verdict.reason}: ${verdict.detail}`);
  return banner;
}

async function sign(text: string, identity: Identity): Promise<string> {
  if (identity.kind === "file") return runSshKeygen(identity.path, text, {});
  // with a public key file, ssh-keygen asks the agent
  const directory = await mkdtemp(join(tmpdir(), "bailiwick-sign-"));
  try {
    const path = join(directory, "identity.pub");
    await writeFile(path, `${identity.publicKey}\n`, { mode: 0o600 });
    return await runSshKeygen(path, text, { SSH_AUTH_SOCK: identity.socket });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function runSshKeygen(keyPath: string, input: string, agent: { SSH_AUTH_SOCK?: string }): Promise<string> {
  const { SSH_AUTH_SOCK: _, ...env } = process.env;
  return new Promise((resolve, reject) => {
    // detached: without a terminal there is nothing to ask a passphrase on
    const child = spawn("ssh-keygen", ["-Y", "sign", "-n", ATTESTATION_NAMESPACE, "-f", keyPath], {
      env: { ...env, SSH_ASKPASS_REQUIRE: "never", ...agent },
      detached: true,
      timeout: 60_000,
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      stdout += chunk;
    });
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      stderr += chunk;
    });
    child.on("error", (error) => reject(new Error(`cannot run ssh-keygen: ${error.message}; install openssh-client`)));
    child.on("close", (code, signal) => {
      if (code === 0) resolve(stdout);
      else reject(new Error(`ssh-keygen -Y sign with ${keyPath}: ${signal ?? `exit ${code}`}: ${stderr.trim()}`));
    });
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}

/**
 * Whether a banner proves, by the signature of one of the admins, that this instance of this host has this key.
 * Never throws for anything the banner holds.
 */
export function verifyAttestation(banner: string | null, expected: Expectation): AttestationVerdict {
  if (banner === null || banner === "") return refused("absent", "the host sent no banner");
  if (Buffer.byteLength(banner) > MAX_BANNER_BYTES)
    return refused("malformed", `the banner is longer than ${MAX_BANNER_BYTES} bytes`);
  const parsed = parseAttestation(banner);
  if (typeof parsed === "string") return refused("malformed", parsed);
  const { text, statement, signature } = parsed;
  const admins = Object.keys(expected.admins).join(", ");
  const adminKey = Object.hasOwn(expected.admins, statement.admin) ? expected.admins[statement.admin] : undefined;
  if (adminKey === undefined) return refused("not-an-admin", `"${statement.admin}" is not one of: ${admins}`);
  const key = parsePublicKey(adminKey);
  if (!key.blob.equals(signature.signer.blob))
    return refused(
      "not-an-admin",
      `signed by ${signature.signer.fingerprint} in the name of "${statement.admin}", whose key is ${key.fingerprint}`,
    );
  if (!signatureHolds(signature, text, ATTESTATION_NAMESPACE))
    return refused(
      "bad-signature",
      `the signature does not belong to this statement (namespace "${printable(signature.namespace)}")`,
    );
  if (statement.host !== expected.host)
    return refused("other-host", `it is about host "${statement.host}", not "${expected.host}"`);
  if (statement.instance !== expected.instance)
    return refused("other-instance", `it is about instance "${statement.instance}", not "${expected.instance}"`);
  const attested = parseHostKey(statement.hostKey);
  if (!attested.blob.equals(parseHostKey(expected.hostKey).blob))
    return refused(
      "other-key",
      `${statement.admin} vouched for ${attested.fingerprint}, another key than the one shown`,
    );
  return { ok: true, admin: statement.admin };
}

function refused(reason: AttestationProblem, detail: string): AttestationVerdict {
  return { ok: false, reason, detail };
}

/** The parts of a banner, or why it has none. */
function parseAttestation(banner: string): { text: string; statement: Statement; signature: SshSignature } | string {
  const newline = banner.indexOf("\n");
  if (newline < 0) return "expected a line of JSON, then an SSH signature";
  const text = banner.slice(0, newline);
  let statement: Statement;
  try {
    statement = JSON.parse(text) as Statement;
    // one spelling only: no unknown, repeated or differently ordered key, no other white space
    if (statementText(statement) !== text) return "the statement is not in canonical form";
  } catch {
    return "the first line is not a statement";
  }
  try {
    return { text, statement, signature: parseSignature(banner.slice(newline + 1)) };
  } catch (error) {
    return `the signature: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function printable(text: string): string {
  return text.slice(0, 40).replace(/[^ -~]/g, "?");
}
