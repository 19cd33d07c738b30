import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { z } from "zod";
import { McpServerSpec } from "../runtime/policy/tools/schema.ts";
import { checked, knownKeys, Refusal, refuse } from "./refuse.ts";
import { type Secret, secretReference } from "./secret.ts";
import { whySecret } from "./secret-shapes.ts";
import { sourceFolder } from "./source-folder.ts";

type Source = McpServerSpec["source"];

export interface NpmServerProps {
  /**
   * Name of the package that is the server.
   * @default the one dependency in the folder's package.json
   */
  readonly package?: string;
  /**
   * Which of the package's programs to run.
   * @default its only one
   */
  readonly bin?: string;
  /**
   * Arguments.
   * @default none
   */
  readonly args?: readonly string[];
  /**
   * Environment variables. Plain values stand in the spec in clear, and what looks like a secret is refused; a `Secret` is
   * read at push, sealed on the host, and set within the server's process alone.
   * @default none
   */
  readonly env?: Readonly<Record<string, string | Secret>>;
}

export interface RemoteServerProps {
  /** `https://` URL of an exact name on port 443. Only the guard reaches it. */
  readonly url: string;
  /**
   * Sent as bearer token, to this URL alone. Give one that can only read, if the service has such.
   * @default none is sent
   */
  readonly token?: Secret;
}

const LockedPackage = z.looseObject({
  version: z.string(),
  integrity: z.string(),
  bin: z.record(z.string(), z.string()).optional(),
});
const LockFile = z.looseObject({ lockfileVersion: z.literal(3), packages: z.record(z.string(), z.unknown()) });

/** What an MCP server is made of. A value: one package may serve many hosts and stacks. */
export class McpPackage {
  /** The source as it stands in the spec. */
  readonly source: Source;
  /** References to the secrets that it needs. */
  readonly secrets: readonly Secret[];

  private constructor(source: Source, secrets: readonly Secret[]) {
    this.source = source;
    this.secrets = secrets;
  }

  /**
   * A stdio server from npm, run on the host by the bundled Node.js as a principal of its own, without network unless
   * granted. Its lock file alone decides what is installed; no package's scripts are run.
   * @param folder with package.json and package-lock.json, as `npm install --package-lock-only <package>` makes them;
   * absolute, or relative to the project
   * @throws Refusal for a folder or lock file that is not there or not whole, a package or program it does not have, an
   * argument or plain value that looks like a secret, an unknown key, or a token
   */
  static npm(folder: string, props: NpmServerProps = {}): McpPackage {
    const path = "McpPackage.npm";
    knownKeys(path, props, ["package", "bin", "args", "env"]);
    const place = sourceFolder(path, folder);
    const { name, locked, lock } = lockedServer(path, resolve(folder), props.package);
    const env: Record<string, string> = {};
    const secrets: Record<string, string> = {};
    const references: Secret[] = [];
    for (const [key, value] of Object.entries(props.env ?? {})) {
      if (typeof value !== "string") {
        const secret = secretReference(`${path} env.${key}`, value);
        secrets[key] = secret.name;
        references.push(secret);
      } else env[key] = plain(`${path} env.${key}`, value);
    }
    const args = (props.args ?? []).map((arg, i) => plain(`${path} args[${i}]`, arg));
    const source = checked(path, McpServerSpec.shape.source, {
      kind: "npm",
      folder: place,
      package: name,
      version: locked.version,
      integrity: locked.integrity,
      lock,
      entry: `node_modules/${name}/${program(path, name, locked.bin ?? {}, props.bin)}`,
      args,
      env,
      secrets,
    });
    return new McpPackage(source, references);
  }

  /**
   * A service of somebody else, by streamable HTTP: the guard sends it calls, with its token, and nothing else.
   * @throws Refusal for a URL that is not `https://` on port 443, a token that is no Secret, an unknown key
   */
  static remote(props: RemoteServerProps): McpPackage {
    const path = "McpPackage.remote";
    knownKeys(path, props, ["url", "token"]);
    const token = props.token === undefined ? null : secretReference(`${path} token`, props.token);
    const source = checked(path, McpServerSpec.shape.source, {
      kind: "remote",
      url: props.url,
      token: token?.name ?? null,
    });
    return new McpPackage(source, token === null ? [] : [token]);
  }
}

function lockedServer(path: string, folder: string, wanted: string | undefined) {
  const [packageJson, lockText] = ["package.json", "package-lock.json"].map((file) => {
    try {
      return readFileSync(join(folder, file), "utf8");
    } catch {
      return refuse(
        path,
        folder,
        `it has no ${file}; make both with \`npm install --package-lock-only <package>\` in it`,
      );
    }
  }) as [string, string];
  const { dependencies = {} } = JSON.parse(packageJson) as { dependencies?: Record<string, string> };
  const names = Object.keys(dependencies);
  const name = wanted ?? (names.length === 1 ? names[0] : undefined);
  if (name === undefined || !names.includes(name))
    refuse(
      `${path} package`,
      wanted,
      `${folder}/package.json depends on ${names.join(", ") || "nothing"}; name the one that is the server`,
    );
  const lock = LockFile.safeParse(JSON.parse(lockText)).data;
  const locked = LockedPackage.safeParse(lock?.packages[`node_modules/${name}`]).data;
  if (locked === undefined)
    refuse(
      path,
      folder,
      `its package-lock.json has no "${name}" with an integrity; make it anew with \`npm install --package-lock-only\``,
    );
  return { name, locked, lock: createHash("sha256").update(lockText).digest("hex") };
}

function program(
  path: string,
  name: string,
  bin: Readonly<Record<string, string>>,
  wanted: string | undefined,
): string {
  const names = Object.keys(bin);
  const chosen = wanted ?? (names.length === 1 ? names[0] : undefined);
  const file = chosen === undefined ? undefined : bin[chosen];
  if (file === undefined)
    refuse(`${path} bin`, wanted, `"${name}" has ${names.join(", ") || "no program"}; name one of them`);
  return file.replace(/^\.\//, "");
}

function plain(path: string, value: unknown): string {
  const why = typeof value === "string" ? whySecret(value) : undefined;
  if (why !== undefined || String(value).includes("[secret "))
    throw new Refusal(
      `${path}: received ${why ?? "a Secret within a text"}; it would stand in clear in the spec and on the host: give Secret.fromEnv("NAME") as the value in env`,
    );
  return checked(path, z.string(), value);
}
