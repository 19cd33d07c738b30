import type * as z from "zod";
import type { CallLimits, ModelId, ModelPrice, ProviderKind } from "../../policy/models/schema.ts";
import type { Upstream } from "./upstream.ts";

type Model = z.infer<typeof ModelId>;

/** What an agent may ask of a provider. */
export interface Grant {
  readonly models: ReadonlySet<Model>;
  readonly limits: CallLimits;
}

/** One provider as the agents see it: `/<name>/v1/…`. */
export interface Route {
  readonly name: string;
  readonly provider: ProviderKind;
  readonly upstream: Upstream;
  /** The provider's own key; null if it needs none. */
  readonly key: string | null;
  /** Agent to the models it may ask for. An agent that is not here may not call at all. */
  readonly grants: ReadonlyMap<string, Grant>;
  /** The route of the same wire format that is asked when this one cannot be; null if none is. */
  readonly fallback: string | null;
  /** Whether what is asked and answered is logged, redacted. */
  readonly logContent: boolean;
  /** By model id. */
  readonly prices: ReadonlyMap<string, ModelPrice>;
}

/** What of an answer says what it cost: the place of its usage. */
type Usage = "chat" | "responses" | "embeddings" | "messages" | "generate";

/** `invoke` goes to the provider if it names a granted model; `models` and `model`, one of them, are answered from the grants. */
export interface Endpoint {
  readonly method: "GET" | "POST";
  /** Path below the route; `{model}` in it stands for the model. */
  readonly path: string;
  readonly does: "invoke" | "models" | "model";
  /** Query strings that may stand behind the path of an `invoke`; passed on as they are. */
  readonly queries: readonly string[];
  /** Null for what providers do not charge for. */
  readonly usage: Usage | null;
  /** Whether every answer is a stream; else the body says so. */
  readonly streams?: true;
}

const get = (path: string): Endpoint => ({ method: "GET", path, does: "models", queries: [""], usage: null });
const getOne = (path: string): Endpoint => ({ ...get(path), does: "model" });
const post = (path: string, usage: Usage | null, queries: readonly string[] = [""]): Endpoint => ({
  method: "POST",
  path,
  does: "invoke",
  queries,
  usage,
});

const OPENAI: readonly Endpoint[] = [
  post("/v1/chat/completions", "chat"),
  post("/v1/responses", "responses"),
  post("/v1/embeddings", "embeddings"),
  get("/v1/models"),
  getOne("/v1/models/{model}"),
];
const ANTHROPIC: readonly Endpoint[] = [
  // the official client writes ?beta=true when it is asked for a beta
  post("/v1/messages", "messages", ["", "?beta=true"]),
  post("/v1/messages/count_tokens", null, ["", "?beta=true"]),
  get("/v1/models"),
  getOne("/v1/models/{model}"),
];
const GOOGLE: readonly Endpoint[] = [
  post("/v1beta/models/{model}:generateContent", "generate"),
  // without alt=sse the stream is one JSON array, which the official client never asks for
  { ...post("/v1beta/models/{model}:streamGenerateContent", "generate", ["?alt=sse"]), streams: true },
  get("/v1beta/models"),
  getOne("/v1beta/models/{model}"),
];

/** Everything that a provider of this kind can be asked through the gateway. */
export function endpoints(provider: ProviderKind): readonly Endpoint[] {
  if (provider === "anthropic") return ANTHROPIC;
  return provider === "google" ? GOOGLE : OPENAI;
}

/** A request target taken apart, nothing decoded and nothing normalised: `/claude/v1/messages?beta=true`. */
export interface Target {
  readonly route: string;
  readonly path: string;
  readonly query: string;
}

/** Undefined for a target that is not a plain absolute path. */
export function parseTarget(url: string): Target | undefined {
  if (!url.startsWith("/")) return undefined;
  const mark = url.indexOf("?");
  const path = mark === -1 ? url : url.slice(0, mark);
  const slash = path.indexOf("/", 1);
  if (slash === -1) return { route: path.slice(1), path: "", query: "" };
  return { route: path.slice(1, slash), path: path.slice(slash), query: mark === -1 ? "" : url.slice(mark) };
}

/** An endpoint, and the model that its path names; null where the body does. */
export interface FoundEndpoint {
  readonly endpoint: Endpoint;
  readonly model: string | null;
}

/**
 * The endpoint a request means, byte for byte; undefined if there is none. What is sent to the provider is the path that
 * stands in the table above, never the client's: `..`, `//`, `%2e`, `;` have nothing to act on. A model in a path is one
 * segment of plain characters, and is granted or refused as such.
 */
export function findEndpoint(provider: ProviderKind, method: string, target: Target): FoundEndpoint | undefined {
  for (const endpoint of endpoints(provider)) {
    if (endpoint.method !== method) continue;
    const model =
      endpoint.does === "model" ? restOfPath(endpoint.path, target.path) : modelInPath(endpoint.path, target.path);
    if (model === undefined) continue;
    if (endpoint.does === "invoke" && !endpoint.queries.includes(target.query)) continue;
    return { endpoint, model };
  }
  return undefined;
}

/** The model at `{model}` in the path, null if the endpoint has none there; undefined if the path is not the endpoint's. */
function modelInPath(pattern: string, path: string): string | null | undefined {
  const [before = "", after] = pattern.split("{model}");
  if (after === undefined) return path === pattern ? null : undefined;
  if (!path.startsWith(before) || !path.endsWith(after) || path.length <= before.length + after.length)
    return undefined;
  const model = path.slice(before.length, path.length - after.length);
  return /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(model) ? model : undefined;
}

/** What stands at `{model}`, whatever it is: it is compared with what is granted and sent nowhere. */
function restOfPath(pattern: string, path: string): string | undefined {
  const before = pattern.slice(0, -"{model}".length);
  return path.startsWith(before) && path.length > before.length ? path.slice(before.length) : undefined;
}

/**
 * The answer to `GET /v1/models/{model}`, in the provider's format, and the id of the model; undefined if it is not granted.
 * @param asked as it stands in the path: clients write a slash in an id as it is or as %2F
 */
export function modelEntry(route: Route, models: ReadonlySet<string>, asked: string) {
  const id = [...models].find((one) => one === asked || encodeURIComponent(one) === asked);
  return id === undefined ? undefined : { id, json: JSON.stringify(entry(route, id)) };
}

/** One model in the provider's format. */
function entry({ provider, name }: Route, id: string): object {
  if (provider === "anthropic") return { type: "model", id, display_name: id, created_at: "1970-01-01T00:00:00Z" };
  if (provider === "google")
    return { name: `models/${id}`, displayName: id, supportedGenerationMethods: ["generateContent"] };
  return { id, object: "model", created: 0, owned_by: name };
}

/** The answer to `GET /v1/models`: what is granted, in the provider's format. Times and owners are not known and not made up. */
export function modelList(route: Route, models: ReadonlySet<string>): string {
  const ids = [...models];
  const list = ids.map((id) => entry(route, id));
  if (route.provider === "anthropic")
    return JSON.stringify({ data: list, has_more: false, first_id: ids[0] ?? null, last_id: ids.at(-1) ?? null });
  return JSON.stringify(route.provider === "google" ? { models: list } : { object: "list", data: list });
}
