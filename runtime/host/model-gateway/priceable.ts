import type { ProviderKind } from "../../policy/models/schema.ts";
import { type JsonFields, scalar } from "./json-fields.ts";
import type { Endpoint } from "./routes.ts";

type Usage = NonNullable<Endpoint["usage"]>;

const words = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/));

/**
 * The fields of each provider whose effect on the price is known: tokens, and nothing else. Under a budget any other is
 * refused, also one that does not exist yet: a provider may make it cost whatever it likes.
 */
const FIELDS: Readonly<Record<Usage, ReadonlySet<string>>> = {
  chat: words(`model messages frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens
    metadata modalities n parallel_tool_calls presence_penalty prompt_cache_key prompt_cache_retention reasoning_effort
    reasoning include_reasoning response_format safety_identifier seed service_tier stop store stream stream_options
    temperature tool_choice tools top_logprobs top_p top_k min_p top_a repetition_penalty user verbosity usage provider
    transforms`),
  responses: words(`model input background conversation include instructions max_output_tokens max_tool_calls metadata
    parallel_tool_calls previous_response_id prompt prompt_cache_key prompt_cache_retention reasoning safety_identifier
    service_tier store stream stream_options temperature text tool_choice tools top_logprobs top_p truncation user`),
  embeddings: words("model input dimensions encoding_format user"),
  messages: words(`model messages cache_control context_management max_tokens metadata output_config output_format
    service_tier stop_sequences stream system temperature thinking tool_choice tools top_k top_p`),
  generate: words(`contents cachedContent cached_content generationConfig generation_config labels safetySettings
    safety_settings systemInstruction system_instruction toolConfig tool_config tools`),
};

/** Of servers that the operator runs or names, only what is known to cost beyond tokens: their fields are their own. */
const REFUSED_OF_OTHERS = words("web_search_options plugins audio background prompt conversation prediction");

/** Tools that the client runs, or that are tokens alone; every other is the provider's and has a price of its own. */
const CLIENT_TOOLS: Readonly<Record<Exclude<Usage, "embeddings" | "generate">, RegExp>> = {
  chat: /^(function|custom)$/,
  responses: /^(function|custom|local_shell|apply_patch)$/,
  messages: /^(custom|bash_\d+|text_editor_\d+|computer_\d+|memory_\d+)$/,
};

/** What of a body asks for more than tokens; undefined if nothing does. The answer names fields, never content. */
export function beyondTokens(
  provider: ProviderKind,
  usage: Usage,
  body: Buffer,
  fields: JsonFields,
): string | undefined {
  const own = provider !== "openai-compatible" && provider !== "demo";
  for (const name of fields.keys())
    if (own ? !FIELDS[usage].has(name) : REFUSED_OF_OTHERS.has(name.toLowerCase()))
      return /^[A-Za-z0-9_]{1,64}$/.test(name) ? `"${name}"` : "a field of an unusual name";
  const tier = scalar(body, fields, "service_tier");
  if (fields.has("service_tier") && !["auto", "default", "flex", "standard_only", null].includes(tier as string))
    return 'a "service_tier" other than auto, default, flex or standard_only';
  if (scalar(body, fields, "background") === true) return '"background"';
  const modalities = value(body, fields, "modalities");
  if (modalities !== undefined && JSON.stringify(modalities) !== '["text"]') return '"modalities" other than text';
  return toolsBeyondTokens(usage, value(body, fields, "tools"));
}

function toolsBeyondTokens(usage: Usage, tools: unknown): string | undefined {
  if (tools === undefined || tools === null || usage === "embeddings") return undefined;
  if (!Array.isArray(tools)) return '"tools" that is no array';
  for (const tool of tools as unknown[]) {
    if (typeof tool !== "object" || tool === null) return 'an entry of "tools" that is no object';
    const known =
      usage === "generate"
        ? Object.keys(tool).every((key) => key === "functionDeclarations" || key === "function_declarations")
        : CLIENT_TOOLS[usage].test(String(("type" in tool ? tool.type : undefined) ?? "custom"));
    if (!known) return "a tool that the provider runs";
  }
  return undefined;
}

/** The whole value of a field; undefined if it is absent. */
export function value(body: Buffer, fields: JsonFields, name: string): unknown {
  const span = fields.get(name);
  return span === undefined ? undefined : JSON.parse(body.toString("utf8", span[0], span[1]));
}
