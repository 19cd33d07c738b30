import * as z from "zod";

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
  ])
  .describe("Reference to a secret's value on the operator's side; resolved at push, into memory only.");

export type SecretSource = z.infer<typeof SecretSource>;

/** Sealed credentials on the host are named by what they are and by a version, the HMAC of the value under a host-held key. */
export const CredentialVersion = z.string().regex(/^[0-9a-f]{32}$/);
