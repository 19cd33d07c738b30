import * as z from "zod";

// What these admit ends up as an argument of a program: none begins as an option does, or as a URL that the AWS CLI would fetch.
const SopsKey = z.string().regex(/^[^[\n\0]+$/, "must be a key of the file without a bracket in it, such as anthropic");

const OnePasswordReference = z
  .string()
  .regex(
    /^op:\/\/[\w .-]+(\/[\w .-]+){2,3}(\?[a-z-]+=[a-z0-9-]+)?$/i,
    "must be a secret reference such as op://vault/item/field",
  );

const SsmName = z
  .string()
  .regex(
    /^(\/|[a-z0-9])(?!.*\/\/)[\w./:-]*$/i,
    "must be the name or ARN of a parameter, such as /agents/anthropic-key",
  );

const SecretsManagerId = z
  .string()
  .regex(/^[a-z0-9/_](?!.*:\/\/)[\w/+=.@:-]*$/i, "must be the name or ARN of a secret, such as agents/anthropic");

const AwsRegion = z
  .string()
  .regex(/^[a-z]{2}(-[a-z]+)+-\d$/, "must be an AWS region such as eu-central-1")
  .describe("AWS region. Default: the one that the AWS CLI takes by itself.");

/**
 * Where the operator's machine finds a secret's value at push. The reference is all that is ever written down: in
 * code, spec, plan and state.
 */
export const SecretSource = z
  .discriminatedUnion("kind", [
    z.strictObject({
      kind: z.literal("env").describe("An environment variable."),
      variable: z
        .string()
        .regex(/^[A-Z_][A-Z0-9_]*$/, "must be the name of an environment variable, such as ANTHROPIC_API_KEY")
        .describe("Environment variable of the pushing process."),
    }),
    z.strictObject({
      kind: z.literal("file").describe("A file."),
      path: z
        .string()
        .min(1)
        .describe("File on the operator's machine; one trailing newline is dropped. `~/` is the operator's home."),
    }),
    z.strictObject({
      kind: z.literal("command").describe("A command's output."),
      argv: z
        .array(z.string().min(1))
        .min(1)
        .describe("Program and arguments, run without a shell; its stdout is the value, one trailing newline dropped."),
    }),
    z.strictObject({
      kind: z.literal("sops").describe("A value in a file that SOPS has encrypted, read by its CLI."),
      path: z.string().min(1).describe("The file, found as one of `file` is."),
      key: z
        .array(z.union([SopsKey, z.number().int().min(0)]))
        .min(1)
        .describe("Where it stands in the file: keys, and places in lists from 0, from the outside in."),
    }),
    z.strictObject({
      kind: z.literal("op").describe("A field of an item in 1Password, read by its CLI."),
      reference: OnePasswordReference.describe(
        "The field: `op://<vault>/<item>/<field>`, or with a section before it.",
      ),
    }),
    z.strictObject({
      kind: z.literal("ssm").describe("A parameter of AWS Systems Manager's Parameter Store, read by the AWS CLI."),
      name: SsmName.describe("Name or ARN of the parameter; `:<version>` or `:<label>` may follow."),
      region: AwsRegion.optional(),
    }),
    z.strictObject({
      kind: z.literal("secretsmanager").describe("A secret in AWS Secrets Manager, read by the AWS CLI."),
      id: SecretsManagerId.describe("Name or ARN of the secret."),
      field: z
        .string()
        .min(1)
        .optional()
        .describe("Field of a secret that is a JSON object; without it the secret as a whole."),
      region: AwsRegion.optional(),
    }),
  ])
  .describe("Reference to a secret's value on the operator's side; resolved at push, into memory only.");

export type SecretSource = z.infer<typeof SecretSource>;

export const ReadGrant = z
  .strictObject({
    secret: z.string().describe("Name of the secret."),
    principal: z
      .string()
      .regex(/^(agent|mcp|model)\/[a-z0-9-]+$/)
      .describe(
        "Who reads it: `agent/<name>` (a command runtime), `mcp/<name>` (an MCP server on the host) or `model/<name>` (a model server on the host).",
      ),
  })
  .describe("One principal is given a secret, as file `$CREDENTIALS_DIRECTORY/secret.<name>` of its unit.");

export type ReadGrant = z.infer<typeof ReadGrant>;

/** Sealed credentials on the host are named by what they are and by a version, the HMAC of the value under a host-held key. */
export const CredentialVersion = z.string().regex(/^[0-9a-f]{32}$/);
