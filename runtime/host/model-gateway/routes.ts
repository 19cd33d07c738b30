import type { z } from "zod";
import type { ModelId, ProviderKind } from "../../policy/models/schema.ts";
import type { Upstream } from "./upstream.ts";

type Model = z.infer<typeof ModelId>;

/** One provider as the agents see it: `/<name>/v1/…`. */
export interface Route {
  readonly name: string;
  readonly provider: ProviderKind;
  readonly upstream: Upstream;
  /** The provider's own key; null if it needs none. */
  readonly key: string | null;
  /** Agent to the models it may ask for. An agent that is not here may not call at all. */
  readonly grants: ReadonlyMap<string, ReadonlySet<Model>>;
}

/** `invoke` goes to the provider if the body names a granted model; `models` is answered from the grants. */
export interface Endpoint {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly does: "invoke" | "models";
  /** Query strings that may stand behind the path of an `invoke`; passed on as they are. */
  readonly queries: readonly string[];
}

const MODELS: Endpoint = { method: "GET", path: "/v1/models", does: "models", queries: [] };
const OPENAI: readonly Endpoint[] = [
  { method: "POST", path: "/v1/chat/completions", does: "invoke", queries: [] },
  MODELS,
];
const ANTHROPIC: readonly Endpoint[] = [
  // the official client writes ?beta=true when it is asked for a beta
  { method: "POST", path: "/v1/messages", does: "invoke", queries: ["?beta=true"] },
  { method: "POST", path: "/v1/messages/count_tokens", does: "invoke", queries: ["?beta=true"] },
  MODELS,
];

/** Everything that a provider of this kind can be asked through the gateway. */
export function endpoints(provider: ProviderKind): readonly Endpoint[] {
  return provider === "anthropic" ? ANTHROPIC : OPENAI;
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

/**
 * The endpoint a request means, byte for byte; undefined if there is none. What is sent to the provider is the path that
 * stands in the table above, never the client's: `..`, `//`, `%2e`, `;` have nothing to act on.
 */
export function findEndpoint(provider: ProviderKind, method: string, target: Target): Endpoint | undefined {
  const endpoint = endpoints(provider).find((e) => e.method === method && e.path === target.path);
  if (endpoint?.does === "invoke" && target.query !== "" && !endpoint.queries.includes(target.query)) return undefined;
  return endpoint;
}

/** The answer to `GET /v1/models`: what is granted, in the provider's format. Times and owners are not known and not made up. */
export function modelList(route: Route, models: ReadonlySet<string>): string {
  const ids = [...models];
  if (route.provider === "anthropic")
    return JSON.stringify({
      data: ids.map((id) => ({ type: "model", id, display_name: id, created_at: "1970-01-01T00:00:00Z" })),
      has_more: false,
      first_id: ids[0] ?? null,
      last_id: ids.at(-1) ?? null,
    });
  return JSON.stringify({
    object: "list",
    data: ids.map((id) => ({ id, object: "model", created: 0, owned_by: route.name })),
  });
}
