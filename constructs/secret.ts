import { basename } from "node:path";
import { inspect } from "node:util";
import { SecretSource } from "../runtime/policy/secrets/schema.ts";
import { Name } from "../runtime/spec/names.ts";
import type { Agent } from "./agent.ts";
import type { McpServer } from "./mcp-server.ts";
import type { Model } from "./model.ts";
import { checked, knownKeys, Refusal, refuse, refuseTokens } from "./refuse.ts";
import { grantRead } from "./secret-grant.ts";
import { whySecret } from "./secret-shapes.ts";

export interface SecretOptions {
  /**
   * Name of the secret on the host and in `bailiwick secrets`: 1 to 20 of a-z, 0-9 and single hyphens.
   * @default derived from the reference: `ANTHROPIC_API_KEY` becomes `anthropic-api-key`
   */
  readonly name?: string;
}

export interface AwsSecretOptions extends SecretOptions {
  /**
   * AWS region.
   * @default the one that the AWS CLI takes by itself where it is pushed from
   */
  readonly region?: string;
}

export interface ManagedSecretOptions extends AwsSecretOptions {
  /**
   * Field of a secret that is a JSON object, such as `apiKey`.
   * @default the secret as a whole
   */
  readonly field?: string;
}

/**
 * A reference to a secret's value on the operator's side. The value itself is read at push, into memory, and sealed on
 * the host; code, spec, plan and state hold the reference alone. May be used on many hosts.
 */
export class Secret {
  /** Name of the secret on its hosts. */
  readonly name: string;
  readonly #source: SecretSource;

  private constructor(path: string, source: SecretSource, derivedFrom: string, options: SecretOptions) {
    knownKeys(`${path} options`, options, ["name"]);
    this.#source = source;
    const name = options.name ?? slug(derivedFrom);
    if (options.name === undefined && !Name.safeParse(name).success)
      throw new Refusal(
        `${path}: no name follows from "${derivedFrom}" ("${name}" is not 1 to 20 of a-z, 0-9 and single hyphens); set one as { name: "…" }`,
      );
    this.name = checked(`${path} name`, Name, name);
  }

  /**
   * From an environment variable of the process that pushes.
   * @param variable such as `ANTHROPIC_API_KEY`; it need not be set at synth, nor at a push that sends no new secret
   * @throws Refusal if it is no name of a variable (a value given here by mistake is not repeated in the message)
   */
  static fromEnv(variable: string, options: SecretOptions = {}): Secret {
    const path = "Secret.fromEnv";
    refuseTokens(path, variable);
    if (typeof variable !== "string" || !/^[A-Z_][A-Z0-9_]*$/.test(variable))
      throw new Refusal(
        `${path}: received something that is no name of an environment variable; give the variable's name, such as ANTHROPIC_API_KEY, never its value`,
      );
    return new Secret(path, { kind: "env", variable }, variable, options);
  }

  /**
   * From a file on the machine that pushes; one trailing newline is dropped.
   * @param path absolute, relative to the project, or below `~/`
   */
  static fromFile(path: string, options: SecretOptions = {}): Secret {
    refuseTokens("Secret.fromFile", path);
    const why = typeof path === "string" ? whySecret(path) : undefined;
    if (typeof path !== "string" || path === "" || /[\n\0]/.test(path) || why !== undefined)
      throw new Refusal(
        `Secret.fromFile: received ${why ?? "no path"}; give the path of a file that holds the secret, never the secret`,
      );
    return new Secret("Secret.fromFile", { kind: "file", path }, basename(path).replace(/\.[a-z]+$/i, ""), options);
  }

  /**
   * From the standard output of a program, run without a shell by the process that pushes; one trailing newline is dropped.
   * @param argv program and arguments, such as `["pass", "show", "anthropic-key"]`
   */
  static fromCommand(argv: readonly string[], options: SecretOptions = {}): Secret {
    const path = "Secret.fromCommand";
    if (typeof argv === "string")
      refuse(path, argv, 'no shell splits it; give program and arguments as a list, such as ["pass", "show", "key"]');
    refuseTokens(path, argv);
    if (!Array.isArray(argv)) throw new Refusal(`${path}: received no list; give program and arguments`);
    argv.forEach((arg: unknown, i) => {
      const why = typeof arg === "string" ? whySecret(arg) : undefined;
      if (why !== undefined)
        throw new Refusal(`${path}[${i}]: received ${why}; arguments are seen by every process, and stand in the spec`);
    });
    const source = checked(path, SecretSource, { kind: "command", argv: [...argv] });
    return new Secret(path, source, argv.at(-1) ?? "", options);
  }

  /**
   * From a file that SOPS has encrypted, by its CLI (`sops decrypt`), with the keys of the person who pushes.
   * @param path of the file, as of `fromFile`
   * @param key where the value stands in it, from the outside in: `["providers", "anthropic"]`, `["keys", 0]`; of a file
   * without a structure of its own `["data"]`
   * @throws Refusal for a path or a key that looks like a secret, or no key
   */
  static fromSops(path: string, key: readonly (string | number)[], options: SecretOptions = {}): Secret {
    const where = "Secret.fromSops";
    if (!Array.isArray(key)) refuse(`${where} key`, key, 'give the keys as a list, such as ["providers", "anthropic"]');
    const source = reference(where, { kind: "sops", path, key: [...key] });
    return new Secret(where, source, String(key.findLast((part) => typeof part === "string") ?? ""), options);
  }

  /**
   * From 1Password, by its CLI (`op read`), signed in as the person who pushes or by a service account.
   * @param field secret reference such as `op://team/Anthropic/credential`; names with other characters by their ids
   */
  static fromOnePassword(field: string, options: SecretOptions = {}): Secret {
    const where = "Secret.fromOnePassword";
    const source = reference(where, { kind: "op", reference: field });
    return new Secret(where, source, field.split("/")[3] ?? "", options);
  }

  /**
   * From AWS Systems Manager's Parameter Store, by the AWS CLI, with its usual credentials and profile.
   * @param name name or ARN of the parameter, such as `/agents/anthropic-key`
   */
  static fromSsmParameter(name: string, options: AwsSecretOptions = {}): Secret {
    const where = "Secret.fromSsmParameter";
    knownKeys(`${where} options`, options, ["name", "region"]);
    const { region, ...more } = options;
    const source = reference(where, { kind: "ssm", name, ...(region === undefined ? {} : { region }) });
    return new Secret(where, source, name.split("/").at(-1)?.split(":")[0] ?? "", more);
  }

  /**
   * From AWS Secrets Manager, by the AWS CLI, with its usual credentials and profile.
   * @param id name or ARN of the secret, such as `agents/anthropic`
   */
  static fromSecretsManager(id: string, options: ManagedSecretOptions = {}): Secret {
    const where = "Secret.fromSecretsManager";
    knownKeys(`${where} options`, options, ["name", "region", "field"]);
    const { region, field, ...more } = options;
    const place = { ...(field === undefined ? {} : { field }), ...(region === undefined ? {} : { region }) };
    const source = reference(where, { kind: "secretsmanager", id, ...place });
    return new Secret(where, source, field ?? id.split(/[/:]/).at(-1) ?? "", more);
  }

  /**
   * The principal may read the value, as file `secret.<name>` in the folder `$CREDENTIALS_DIRECTORY` of its own unit; never as
   * an argument or environment variable. A change of the value restarts it.
   * @param to an agent with `Runtime.command`, an MCP server that runs on the host, or a model server that does
   * (`ModelProvider.onHost`)
   * @throws Refusal for anybody else, a second grant, or another secret of that name on the host. Synth refuses besides: an
   * OpenClaw agent, which would not read it; what is elsewhere; a provider's key or a remote server's token, which are the
   * gateway's and the guard's alone; what an MCP server has in its environment already
   */
  grantRead(to: Agent | McpServer | Model): this {
    grantRead(this, to);
    return this;
  }

  /** The reference as it stands in the spec. */
  get source(): SecretSource {
    return this.#source;
  }

  /** Printing a Secret shows its name alone, so a reference with telling arguments does not end in a log. */
  toString(): string {
    return `[secret ${this.name}]`;
  }

  toJSON(): string {
    return this.toString();
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

/**
 * A reference that other programs are given.
 * @throws Refusal if it is none, or a secret itself by its looks, which is not repeated
 */
function reference(path: string, source: SecretSource): SecretSource {
  refuseTokens(path, source);
  for (const part of Object.values(source).flat()) {
    const why = typeof part === "string" ? whySecret(part) : undefined;
    if (why !== undefined)
      throw new Refusal(`${path}: received ${why}; give where the secret is kept, never the secret`);
  }
  return checked(path, SecretSource, source);
}

/**
 * The Secret.
 * @throws Refusal for anything else, without repeating it: it may be the literal secret
 */
export function secretReference(path: string, value: unknown): Secret {
  if (value instanceof Secret) return value;
  refuseTokens(path, value);
  throw new Refusal(
    `${path}: received ${value === undefined ? "nothing" : `a ${typeof value}`} where a reference to a secret belongs; give Secret.fromEnv("NAME"), Secret.fromFile("path") or another Secret.from…, never the secret itself`,
  );
}

function slug(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-+|-+$/g, "");
}
