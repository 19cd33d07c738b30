import type { SecretSource } from "../policy/secrets/schema.ts";

/** Where a secret is that another program keeps: which program, what it is asked, and what its answers mean. */
export interface SecretTool {
  readonly program: string;
  /** Arguments; a reference stands in them, a secret never. */
  readonly args: readonly string[];
  /**
   * The value in what it printed.
   * @throws NoValueError if there is none in it
   */
  readonly value: (stdout: Buffer) => Buffer;
  /** What it says on stderr when it cannot, and what to do then. The first that matches counts. */
  readonly refusals: readonly Refusal[];
  /** How to get the program where it is missing. */
  readonly install: string;
}

interface Refusal {
  readonly said: RegExp;
  readonly means: string;
  readonly remedy: string;
}

/** The program answered, and there is no value in its answer; the message says why, without the answer. */
export class NoValueError extends Error {
  readonly remedy: string;
  constructor(message: string, remedy: string) {
    super(message);
    this.remedy = remedy;
  }
}

type ToolSource = Exclude<SecretSource, { kind: "env" | "file" | "command" }>;

/** @param file where the reference names a file: its path in full */
export function secretTool(source: ToolSource, file: (path: string) => string): SecretTool {
  switch (source.kind) {
    case "sops":
      return {
        program: "sops",
        args: [
          "decrypt",
          "--extract",
          source.key.map((key) => (typeof key === "number" ? `[${key}]` : `["${key}"]`)).join(""),
          file(source.path),
        ],
        value: (stdout) => stdout,
        refusals: SOPS,
        install: "install it (https://getsops.io)",
      };
    case "op":
      return {
        program: "op",
        args: ["read", "--no-newline", source.reference],
        value: (stdout) => stdout,
        refusals: ONE_PASSWORD,
        install: "install the 1Password CLI",
      };
    case "ssm":
      return {
        ...AWS,
        args: [...awsArgs("ssm", "get-parameter", source.region), "--with-decryption", `--name=${source.name}`],
        value: (stdout) => Buffer.from(stringAt(parsed(stdout), ["Parameter", "Value"])),
      };
    case "secretsmanager":
      return {
        ...AWS,
        args: [...awsArgs("secretsmanager", "get-secret-value", source.region), `--secret-id=${source.id}`],
        value: (stdout) => managedValue(parsed(stdout), source.field),
      };
  }
}

const SOPS: readonly Refusal[] = [
  {
    said: /error truncating tree|interface conversion/i,
    means: "there is no such key in it",
    remedy: "look for its keys with `sops decrypt`, and correct the reference",
  },
  {
    said: /failed to get the data key|no matching creation rules|no identity matched/i,
    means: "none of your keys decrypts it",
    remedy: "set SOPS_AGE_KEY_FILE, or sign in to the service that holds its key, or have yourself added to it",
  },
  {
    said: /sops metadata not found|not encrypted/i,
    means: "it is not encrypted by sops",
    remedy: "encrypt it with `sops encrypt --in-place`, or refer to it by Secret.fromFile",
  },
  {
    said: /mac mismatch/i,
    means: "it was changed by something else than sops (MAC mismatch)",
    remedy: "restore it; whoever changed it could have exchanged values in it",
  },
];

const ONE_PASSWORD: readonly Refusal[] = [
  {
    said: /not (currently )?signed in|no accounts configured|session expired|authorization (prompt dismissed|timeout)|unauthorized/i,
    means: "the 1Password CLI is not signed in here",
    remedy: "run `op signin`, or set OP_SERVICE_ACCOUNT_TOKEN",
  },
  {
    said: /does not have a field|isn't a field|could not find field/i,
    means: "the item has no such field",
    remedy: "look at it with `op item get`, and correct the reference",
  },
  {
    said: /isn't an item|could not find item|no item found|isn't a vault|could not find vault/i,
    means: "there is no such item or vault, or your account does not see it",
    remedy: "look with `op item list`, and correct the reference or have it shared with you",
  },
];

const AWS = {
  program: "aws",
  install: "install the AWS CLI",
  refusals: [
    {
      said: /unable to locate credentials|unable to parse config|could not be found\)?$|sso session .*(expired|invalid)|token .*expired|ExpiredToken|InvalidClientTokenId|UnrecognizedClient/im,
      means: "the AWS CLI has no valid credentials here",
      remedy: "run `aws sso login`, or set AWS_PROFILE, or set keys",
    },
    {
      said: /must specify a region/i,
      means: "the AWS CLI knows no region",
      remedy: "set AWS_REGION, or give the reference a region",
    },
    {
      said: /ParameterNotFound|ParameterVersionNotFound|ResourceNotFoundException/,
      means: "there is none of that name in that account and region",
      remedy: "correct the reference, its region or AWS_PROFILE",
    },
    {
      said: /AccessDenied/,
      means: "you may not read it",
      remedy:
        "have yourself allowed ssm:GetParameter or secretsmanager:GetSecretValue on it, and kms:Decrypt on its key",
    },
    {
      said: /could not connect to the endpoint/i,
      means: "AWS is not reached from here",
      remedy: "look at your network and the region",
    },
  ],
} satisfies Partial<SecretTool>;

function awsArgs(service: string, call: string, region: string | undefined): string[] {
  return [service, call, "--output", "json", ...(region === undefined ? [] : [`--region=${region}`])];
}

function managedValue(answer: unknown, field: string | undefined): Buffer {
  const { SecretBinary: binary } = (answer ?? {}) as { SecretBinary?: unknown };
  if (typeof binary === "string") {
    if (field === undefined) return Buffer.from(binary, "base64");
    throw new NoValueError("it is binary, and has no fields", "leave out the field");
  }
  const text = stringAt(answer, ["SecretString"]);
  if (field === undefined) return Buffer.from(text);
  let fields: unknown;
  try {
    fields = JSON.parse(text);
  } catch {
    throw new NoValueError("it is no JSON object, and has no fields", "leave out the field");
  }
  return Buffer.from(stringAt(fields, [field]));
}

function parsed(stdout: Buffer): unknown {
  try {
    return JSON.parse(stdout.toString());
  } catch {
    throw new NoValueError("the AWS CLI answered with no JSON", "try the same with `aws` by hand");
  }
}

/** @throws NoValueError naming what is not there; never with anything of the answer */
function stringAt(answer: unknown, path: readonly string[]): string {
  let at = answer;
  for (const key of path)
    at = typeof at === "object" && at !== null && Object.hasOwn(at, key) ? (at as Record<string, unknown>)[key] : null;
  if (typeof at === "string") return at;
  throw new NoValueError(`there is no text at ${path.join(".")} of it`, "correct the reference");
}
