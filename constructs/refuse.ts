import { Token } from "cdktf";
import type { z } from "zod";

/** Input that a construct refuses: the path in the user's own code, what was received, what to do. Never carries a secret. */
export class Refusal extends Error {
  override readonly name = "Refusal";
}

/** @throws Refusal `<path>: received <received>; <advice>` */
export function refuse(path: string, received: unknown, advice: string): never {
  throw new Refusal(`${path}: received ${show(received)}; ${advice}`);
}

/** Objects from JavaScript, or cast to `any`, may carry keys that mean nothing; a misspelt grant must not be ignored. */
export function knownKeys(path: string, value: unknown, known: readonly string[]): void {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    refuse(path, value, `give an object with ${known.join(", ")}`);
  const strange = Object.keys(value).filter((key) => !known.includes(key));
  if (strange.length > 0)
    throw new Refusal(
      `${path}: unknown key${strange.length > 1 ? "s" : ""} ${strange.map((k) => `"${k}"`).join(", ")}; it takes ${known.join(", ")}`,
    );
}

/** Values that synth itself decides by: names, uids, sizes, grants. Terraform knows tokens only at apply. */
export function refuseTokens(path: string, value: unknown): void {
  if (Token.isUnresolved(value))
    throw new Refusal(
      `${path}: received a Terraform token, whose value is known only after apply; give a literal value here`,
    );
  if (Array.isArray(value)) for (const [i, v] of value.entries()) refuseTokens(`${path}[${i}]`, v);
  else if (isPlainObject(value)) for (const [key, v] of Object.entries(value)) refuseTokens(`${path}.${key}`, v);
}

/**
 * The value, parsed by a schema of the spec.
 * @throws Refusal if it holds a token or does not match, with the path of the first problem
 */
export function checked<T extends z.ZodType>(path: string, schema: T, value: unknown): z.output<T> {
  refuseTokens(path, value);
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const at = issue === undefined ? [] : issue.path;
  const where = path + at.map((p) => (typeof p === "number" ? `[${p}]` : `.${String(p)}`)).join("");
  if (issue === undefined || issue.code === "unrecognized_keys")
    throw new Refusal(`${where}: unknown key ${issue?.keys.map((k) => `"${k}"`).join(", ")}; remove it`);
  // Messages that already say what was received stand as they are.
  if (issue.message.startsWith("received ")) throw new Refusal(`${where}: ${issue.message}`);
  let received: unknown = value;
  for (const p of at) received = (received as Record<PropertyKey, unknown> | undefined)?.[p];
  return refuse(where, received, issue.message.charAt(0).toLowerCase() + issue.message.slice(1));
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function show(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Token.isUnresolved(value)) return "a Terraform token";
  if (typeof value === "function") return "a function";
  if (typeof value === "object" && value !== null && !Array.isArray(value) && !isPlainObject(value))
    return `a ${value.constructor.name}`;
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}
