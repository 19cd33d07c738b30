import { createHash, createHmac, randomBytes } from "node:crypto";
import { mkdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { SealAnswer, SealRequest } from "../../spec/activator.ts";
import { readIfThere, syncDirectory, syncFile, writeWhole } from "./files.ts";
import { paths } from "./paths.ts";
import { run, tryRun } from "./run.ts";

type Generated = SealAnswer["generated"][string];

const CREDENTIAL_NAME = /^(secret|agent)\.[a-z0-9-]{1,20}(\.[a-z-]{1,20})?$/;

/**
 * Seals values under this host's key, one file per version; a version that is there already is not written again.
 * Credentials to generate are made once and kept.
 */
export async function seal(request: SealRequest): Promise<SealAnswer> {
  const answer: SealAnswer = { versions: {}, generated: {} };
  for (const [name, base64] of Object.entries(request.set))
    answer.versions[name] = await sealOne(name, Buffer.from(base64, "base64"));
  for (const name of request.generate)
    answer.generated[name] = request.renew?.includes(name) ? await renewed(name) : await generated(name);
  return answer;
}

/** The versions that values would have, and credentials that were made here already; nothing is made or kept. */
export async function versionsOf(request: SealRequest): Promise<SealAnswer> {
  const key = await readKey();
  const versions: SealAnswer["versions"] = {};
  for (const [name, base64] of Object.entries(request.set))
    versions[name] = versionOf(key ?? randomBytes(32), name, Buffer.from(base64, "base64"));
  return { versions, generated: await generatedCredentials(request.generate) };
}

async function generated(name: string): Promise<Generated> {
  const record = join(directoryOf(name), "generated.json");
  const known = await readIfThere(record);
  if (known !== null) {
    const found = JSON.parse(known) as Generated;
    const { code } = await tryRun("systemd-creds", decryption(name, found.version));
    if (code === 0) return found;
  }
  return make(name);
}

/** Another text in place of the one there was; the version before stays sealed as long as a release names it. */
async function renewed(name: string): Promise<Generated> {
  const { sha256: previous } = await generated(name);
  return { ...(await make(name)), previous };
}

async function make(name: string): Promise<Generated> {
  const text = randomBytes(32).toString("hex");
  const version = await sealOne(name, Buffer.from(text));
  const made = { version, sha256: createHash("sha256").update(text).digest("hex") };
  await writeWhole(join(directoryOf(name), "generated.json"), JSON.stringify(made), 0o600);
  return made;
}

async function sealOne(name: string, value: Uint8Array): Promise<string> {
  const directory = directoryOf(name);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const version = versionOf(await versionKey(), name, value);
  const target = credentialFile(name, version);
  if (await opensTo(name, version, value)) return version;
  const next = `${target}.${randomBytes(6).toString("hex")}.new`;
  try {
    // No PCRs: a Secure Boot update must not lock out an unattended reboot.
    await run("systemd-creds", ["encrypt", "--with-key=auto", "--tpm2-pcrs=", `--name=${name}`, "-", next], value);
    await syncFile(next); // or a power cut leaves the name and none of the content
    await rename(next, target);
  } finally {
    await rm(next, { force: true });
  }
  await syncDirectory(directory);
  return version;
}

/** Whether a version is there and whole: its file may be left empty or damaged by a disk that failed. */
async function opensTo(name: string, version: string, value: Uint8Array): Promise<boolean> {
  if ((await stat(credentialFile(name, version)).catch(() => null)) === null) return false;
  const { code, stdout } = await tryRun("systemd-creds", decryption(name, version));
  return code === 0 && stdout === Buffer.from(value).toString();
}

function decryption(name: string, version: string): string[] {
  return ["decrypt", `--name=${name}`, credentialFile(name, version), "-"];
}

/** The text of a sealed credential, for root's own use. */
export async function unseal(name: string, version: string): Promise<string> {
  return run("systemd-creds", decryption(name, version));
}

/** Versions and hashes of all credentials that were made on this host. */
export async function generatedCredentials(names: readonly string[]): Promise<Record<string, Generated>> {
  const found: Record<string, Generated> = {};
  for (const name of names) {
    const record = await readIfThere(join(paths.credentials, name, "generated.json"));
    if (record !== null) found[name] = JSON.parse(record) as Generated;
  }
  return found;
}

export function credentialFile(name: string, version: string): string {
  return join(directoryOf(name), `${version}.cred`);
}

function directoryOf(name: string): string {
  if (!CREDENTIAL_NAME.test(name))
    throw new Error(`received ${JSON.stringify(name)}, which is no name of a credential`);
  return join(paths.credentials, name);
}

function versionOf(key: Uint8Array, name: string, value: Uint8Array): string {
  return createHmac("sha256", key).update(`${name}\0`).update(value).digest("hex").slice(0, 32);
}

async function readKey(): Promise<Buffer | null> {
  try {
    return await readFile(paths.versionKey);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

async function versionKey(): Promise<Buffer> {
  const known = await readKey();
  if (known !== null) return known;
  await mkdir(paths.credentials, { recursive: true, mode: 0o700 });
  const key = randomBytes(32);
  await writeWhole(paths.versionKey, key, 0o600);
  return key;
}
