import type { ModelPrice, ProviderKind } from "../../policy/models/schema.ts";
import { type JsonFields, jsonFields, scalar, WatchedWords } from "./json-fields.ts";
import { worstCost } from "./price.ts";
import { beyondTokens, value } from "./priceable.ts";
import type { Endpoint } from "./routes.ts";
import { type Splice, spliced } from "./splice.ts";

type Usage = NonNullable<Endpoint["usage"]>;

/** What a call can cost at most, and its body so bounded. */
export interface Quote {
  readonly body: Buffer;
  /** Nanodollars. */
  readonly amount: number;
  /** Most tokens, input and output. */
  readonly tokens: number;
  /** What was changed in the body: `max_tokens=16384`, `stream_options.include_usage=true`. */
  readonly changed: readonly string[];
}

/** Why a call has no upper bound that could be reserved; the message names a field, never content. */
export class Unpriceable extends Error {}

/** Providers put instructions of their own around tools and messages; these tokens are no bytes of the body. */
const OWN_TOKENS = 4096;
/** Most tokens that any provider counts for one image. */
const IMAGE_TOKENS = 65_536;

/** Where each format has the limit of its output, and which of them is set when there is none. */
const LIMITS: Readonly<Record<Exclude<Usage, "generate" | "embeddings">, readonly string[]>> = {
  chat: ["max_completion_tokens", "max_tokens"],
  responses: ["max_output_tokens"],
  messages: ["max_tokens"],
};

/**
 * Bounds a call: its output by its own limit, clamped or set to `maxOutputTokens`, its input by its bytes, since no
 * tokenizer makes more tokens than there are bytes.
 * @throws Unpriceable for what costs more than tokens
 */
export function quote(
  provider: ProviderKind,
  usage: Usage,
  price: ModelPrice,
  body: Buffer,
  fields: JsonFields,
  maxOutputTokens: number,
): Quote {
  const beyond = beyondTokens(provider, usage, body, fields);
  if (beyond !== undefined) throw new Unpriceable(`received ${beyond}, which may cost more than its tokens`);
  const splices: Splice[] = [];
  const changed: string[] = [];
  const output = boundedOutput(provider, usage, body, fields, maxOutputTokens, splices, changed);
  if (usage === "chat" && scalar(body, fields, "stream") === true) includeUsage(body, fields, splices, changed);
  const input = Math.min(inputTokens(body, fields, price.contextTokens), price.contextTokens);
  // Anthropic writes its cache only where it is told to; others as they like
  const cached = usage !== "messages" || fields.words.has(CACHE) || fields.hides;
  return {
    body: splices.length === 0 ? body : spliced(body, splices),
    amount: worstCost(price, input, output, cached),
    tokens: input + output,
    changed,
  };
}

function boundedOutput(
  provider: ProviderKind,
  usage: Usage,
  body: Buffer,
  fields: JsonFields,
  most: number,
  splices: Splice[],
  changed: string[],
): number {
  if (usage === "embeddings") return 0;
  if (usage === "generate") return boundedGoogleOutput(body, fields, most, splices, changed);
  const names = LIMITS[usage];
  const present = names.filter((name) => fields.has(name) && scalar(body, fields, name) !== null);
  let bound = 0;
  for (const name of present) bound = Math.max(bound, clamp(body, fields, name, most, splices, changed));
  if (present.length === 0) {
    // OpenAI's own newer models know the one name alone, other servers often the other
    const name = usage === "chat" && provider !== "openai" ? "max_tokens" : (names[0] ?? "max_tokens");
    bound = set(body, fields, name, most, splices, changed);
  }
  return bound * Math.max(count(body, fields, "n"), count(body, fields, "best_of"));
}

/** Google's limit stands one level deeper, under either spelling of both names. */
function boundedGoogleOutput(
  body: Buffer,
  fields: JsonFields,
  most: number,
  splices: Splice[],
  changed: string[],
): number {
  const configs = ["generationConfig", "generation_config"].filter((name) => fields.has(name));
  if (configs.length > 1) throw new Unpriceable("received the generation config twice");
  const [name] = configs;
  const span = name === undefined ? undefined : fields.get(name);
  if (span === undefined || scalar(body, fields, name ?? "") === null) {
    if (span !== undefined) throw new Unpriceable("received a generation config that is null");
    splices.push(insertion(body, fields.size, `"generationConfig":{"maxOutputTokens":${most}}`));
    changed.push(`generationConfig.maxOutputTokens=${most}`);
    return most;
  }
  const [start, end] = span;
  const inner = body.subarray(start, end);
  let config: JsonFields;
  try {
    config = jsonFields(inner);
  } catch {
    throw new Unpriceable("received a generation config that is no plain object");
  }
  for (const key of config.keys())
    if (/modalities|speech|image/i.test(key) && JSON.stringify(value(inner, config, key)) !== '["TEXT"]')
      throw new Unpriceable(`received "${key}", which may cost more than its tokens`);
  const limits = ["maxOutputTokens", "max_output_tokens"].filter((key) => config.has(key));
  if (limits.length > 1) throw new Unpriceable("received the limit of output tokens twice");
  const own: Splice[] = [];
  const [limit] = limits;
  const bound =
    limit === undefined
      ? set(inner, config, "maxOutputTokens", most, own, changed)
      : clamp(inner, config, limit, most, own, changed);
  for (const one of own) splices.push({ ...one, start: one.start + start, end: one.end + start });
  return bound * Math.max(count(inner, config, "candidateCount"), count(inner, config, "candidate_count"));
}

function clamp(
  body: Buffer,
  fields: JsonFields,
  name: string,
  most: number,
  splices: Splice[],
  changed: string[],
): number {
  const asked = scalar(body, fields, name);
  if (typeof asked !== "number" || !Number.isInteger(asked) || asked < 0)
    throw new Unpriceable(`received a "${name}" that is no whole number`);
  if (asked <= most) return asked;
  const [start, end] = fields.get(name) ?? [0, 0];
  splices.push({ start, end, text: String(most) });
  changed.push(`${name}=${most}`);
  return most;
}

function set(
  body: Buffer,
  fields: JsonFields,
  name: string,
  most: number,
  splices: Splice[],
  changed: string[],
): number {
  const span = fields.get(name); // there, and null
  if (span === undefined) splices.push(insertion(body, fields.size, `"${name}":${most}`));
  else splices.push({ start: span[0], end: span[1], text: String(most) });
  changed.push(`${name}=${most}`);
  return most;
}

/** A field at the beginning of an object that has `size` others. */
function insertion(body: Buffer, size: number, field: string): Splice {
  const at = body.indexOf("{") + 1;
  return { start: at, end: at, text: size === 0 ? field : `${field},` };
}

function count(body: Buffer, fields: JsonFields, name: string): number {
  const number = scalar(body, fields, name);
  if (!fields.has(name) || number === null) return 1;
  if (typeof number !== "number" || !Number.isInteger(number) || number < 1 || number > 128)
    throw new Unpriceable(`received "${name}" that is no whole number from 1 to 128`);
  return number;
}

/** A stream of chat completions says what it used only if it is asked to. */
function includeUsage(body: Buffer, fields: JsonFields, splices: Splice[], changed: string[]): void {
  const span = fields.get("stream_options");
  const note = "stream_options.include_usage=true";
  if (span === undefined || scalar(body, fields, "stream_options") === null) {
    if (span === undefined) splices.push(insertion(body, fields.size, '"stream_options":{"include_usage":true}'));
    else splices.push({ start: span[0], end: span[1], text: '{"include_usage":true}' });
    changed.push(note);
    return;
  }
  const [start, end] = span;
  const inner = body.subarray(start, end);
  let options: JsonFields;
  try {
    options = jsonFields(inner);
  } catch {
    throw new Unpriceable('received "stream_options" that is no plain object');
  }
  if (scalar(inner, options, "include_usage") === true) return;
  const own = options.get("include_usage");
  const change =
    own === undefined
      ? insertion(inner, options.size, '"include_usage":true')
      : { start: own[0], end: own[1], text: "true" };
  splices.push({ ...change, start: change.start + start, end: change.end + start });
  changed.push(note);
}

const CACHE = "cache_control";
const IMAGES = ["image", "image_url", "input_image"];
/** What stands for content elsewhere, or unfolds to more tokens than it has bytes. */
const UNBOUNDED = [
  ...["document", "file", "input_file", "file_id", "container_upload", "search_result"],
  ...["input_audio", "audio", "video", "video_url", "item_reference"],
  ...["inlineData", "inline_data", "fileData", "file_data"],
];

/** Words of a body that say what it can cost; its fields are to be read with these. */
export const COSTLY = new WatchedWords([CACHE, ...IMAGES, ...UNBOUNDED]);

const ELSEWHERE = ["previous_response_id", "conversation", "prompt", "cachedContent", "cached_content"];

function inputTokens(body: Buffer, fields: JsonFields, contextTokens: number): number {
  if (ELSEWHERE.some((name) => fields.has(name) && scalar(body, fields, name) !== null)) return contextTokens;
  const { words, hides } = fields;
  if (hides || UNBOUNDED.some((word) => words.has(word))) return contextTokens;
  const images = IMAGES.reduce((sum, word) => sum + (words.get(word) ?? 0), 0);
  return body.length + OWN_TOKENS + images * IMAGE_TOKENS;
}
