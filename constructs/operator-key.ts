import { randomBytes } from "node:crypto";
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { generateSshKeyPair, publicHalf } from "./openssh-key.ts";

/** `~/.config/bailiwick/operator_ed25519`; below XDG_CONFIG_HOME if that is set. */
export function operatorKeyFile(): string {
  const config = process.env.XDG_CONFIG_HOME;
  return join(config !== undefined && config !== "" ? config : join(homedir(), ".config"), "bailiwick", FILE);
}

const FILE = "operator_ed25519";

/**
 * The public line of the operator's own key, made on first use (private file mode 0600, no passphrase).
 * @throws if the file cannot be read or made, or is no OpenSSH private key
 */
export function operatorPublicKey(): string {
  const file = operatorKeyFile();
  const existing = readIfThere(file);
  if (existing !== undefined) return `${publicHalf(existing)} operator`;
  const pair = generateSshKeyPair("operator");
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const draft = `${file}.${randomBytes(6).toString("hex")}`;
  try {
    writeFileSync(draft, pair.privateKey, { mode: 0o600, flag: "wx" });
    // link, not rename: of two synths at the same time one key wins and both use it.
    linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(draft, { force: true });
  }
  const line = `${publicHalf(readFileSync(file, "utf8"))} operator`;
  writeFileSync(`${file}.pub`, `${line}\n`, { mode: 0o644 });
  return line;
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
