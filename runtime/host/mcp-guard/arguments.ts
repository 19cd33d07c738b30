import { Ajv } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { GrantedTool, Narrowing, PinnedTool } from "../../policy/tools/schema.ts";
import { isRecord } from "./messages.ts";

/** Why arguments are refused: the rule, for the log, and what the agent is told. Null: they are as they must be. */
type ArgumentsProblem = { readonly rule: string; readonly message: string } | null;
export type ArgumentsCheck = (args: Readonly<Record<string, unknown>>) => ArgumentsProblem;

/** Longest string that a granted pattern is tried on: what it costs to match is the agent's to choose otherwise. */
const PATTERN_TEXT = 4096;

/**
 * What a granted tool's arguments must be: valid by the pinned schema, none that it does not name, and narrowed as the
 * grant says. A schema that cannot be used refuses every call.
 */
export function argumentsCheck(tool: PinnedTool, grant: GrantedTool): ArgumentsCheck {
  const { inputSchema } = tool;
  const valid = compiled(inputSchema);
  if (typeof valid === "string")
    return () => ({ rule: "schema-unusable", message: `the tool's pinned schema cannot be used: ${valid}` });
  const narrowed = Object.entries(grant.arguments);
  return (args) => {
    const strange = unknownArgument(inputSchema, args);
    if (strange !== undefined)
      return { rule: "arguments-schema", message: `the tool has no argument ${JSON.stringify(strange.slice(0, 64))}` };
    const wrong = valid(args);
    if (wrong !== null) return { rule: "arguments-schema", message: wrong };
    for (const [name, narrowing] of narrowed) {
      const why = narrowingProblem(narrowing, Object.hasOwn(args, name) ? args[name] : undefined);
      if (why !== undefined) return { rule: `arguments-grant:${name}`, message: `argument "${name}" ${why}` };
    }
    return null;
  };
}

/** Says what is wrong with arguments; or, as text, why the schema cannot be used. */
function compiled(schema: Readonly<Record<string, unknown>>): string | ((args: unknown) => string | null) {
  const dialect = schema.$schema;
  const draft7 = typeof dialect === "string" && /^http:\/\/json-schema\.org\/draft-0[67]\/schema#?$/.test(dialect);
  if (dialect !== undefined && !draft7 && dialect !== "https://json-schema.org/draft/2020-12/schema")
    return `it is of a dialect that the guard does not know`;
  // formats are annotations in 2020-12; a schema that cannot be read in full is refused by `compile`, also remote $refs
  const options = { strict: false, validateFormats: false, allErrors: false, logger: false } as const;
  try {
    const validate = (draft7 ? new Ajv(options) : new Ajv2020(options)).compile(schema);
    return (args) => {
      if (validate(args) === true) return null;
      const [error] = validate.errors ?? [];
      return `arguments${error?.instancePath ?? ""} ${error?.message ?? "are not as the schema says"}`;
    };
  } catch {
    return "it is not a valid JSON Schema";
  }
}

/** JSON Schema lets by what it does not name; a server may take that for something, so it must be said to be free. */
function unknownArgument(schema: Readonly<Record<string, unknown>>, args: object): string | undefined {
  const { additionalProperties, patternProperties, properties } = schema;
  if (additionalProperties === true || isRecord(additionalProperties) || patternProperties !== undefined)
    return undefined;
  // composed schemas name their properties elsewhere; ajv judges those
  if (["allOf", "anyOf", "oneOf", "$ref", "if"].some((key) => schema[key] !== undefined)) return undefined;
  const known = isRecord(properties) ? properties : {};
  return Object.keys(args).find((name) => !Object.hasOwn(known, name));
}

function narrowingProblem(narrowing: Narrowing, value: unknown): string | undefined {
  const texts = Array.isArray(value) ? value : [value];
  if (value === undefined || texts.length === 0) return "must be given: the grant narrows it";
  for (const text of texts) {
    if (typeof text !== "string") return "must be text, or a list of texts: the grant narrows it";
    const why = textProblem(narrowing, text);
    if (why !== undefined) return why;
  }
  return undefined;
}

function textProblem(narrowing: Narrowing, text: string): string | undefined {
  switch (narrowing.kind) {
    case "enum":
      return narrowing.values.includes(text)
        ? undefined
        : `must be one of ${narrowing.values.map((value) => JSON.stringify(value)).join(", ")}`;
    case "pattern":
      if (text.length > PATTERN_TEXT) return `must be at most ${PATTERN_TEXT} characters long`;
      return new RegExp(`^(?:${narrowing.pattern})$`, "u").test(text)
        ? undefined
        : `must match ${narrowing.pattern} as a whole`;
    case "path-prefix":
      return isBelow(text, narrowing.prefix)
        ? undefined
        : `must be ${narrowing.prefix} or a path below it, written without . and ..`;
  }
}

/** Refused rather than repaired: what the guard would read in one way, the server could read in another. */
function isBelow(path: string, prefix: string): boolean {
  const parts = path.split("/").slice(1);
  const plain =
    path.startsWith("/") && (path === "/" || parts.every((part) => part !== "" && part !== "." && part !== ".."));
  if (!plain || /[\\\p{Cc}]/u.test(path)) return false;
  return path === prefix || path.startsWith(prefix === "/" ? "/" : `${prefix}/`);
}
