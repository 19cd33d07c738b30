import { isIP } from "node:net";
import { Token } from "cdktf";
import { DnsName } from "../runtime/policy/egress/schema.ts";
import { ModelId, ModelPrice, ModelProviderSpec, type ProviderKind } from "../runtime/policy/models/schema.ts";
import { ModelService } from "../runtime/spec/runtime.ts";
import { checked, knownKeys, Refusal } from "./refuse.ts";
import { commandParts } from "./runtime.ts";
import { type Secret, secretReference } from "./secret.ts";
import { whySecret } from "./secret-shapes.ts";

/** What a model costs at this provider, USD per million tokens. */
export interface ModelPriceProps {
  readonly input: number;
  /** Reasoning among it. */
  readonly output: number;
  /** @default the price of input */
  readonly cacheRead?: number;
  /** @default the price of input */
  readonly cacheWrite?: number;
  /** @default the price of cacheWrite */
  readonly cacheWrite1h?: number;
  /**
   * Most input tokens that the model takes: reserved for input whose tokens its bytes do not bound, such as images.
   * @default 2000000
   */
  readonly contextTokens?: number;
}

interface Priced {
  /**
   * Prices by model id. One that is set here is taken instead of the list's; `{ input: 0, output: 0 }` is free.
   * @default the price list of the kit, for providers of its own; none for `openAiCompatible`
   */
  readonly prices?: Readonly<Record<string, ModelPriceProps>>;
}

export interface HostedProviderProps extends Priced {
  /** Reference to the provider's API key. Only the gateway is ever given the value. */
  readonly apiKey: Secret;
  /**
   * Origin of the API and path prefix before `/v1`, if any; `https://` on port 443.
   * @default the provider's own
   */
  readonly url?: string;
}

export interface OpenAiCompatibleProps extends Priced {
  /**
   * Origin of the API and path prefix before `/v1`, if any: `https://llm.example.com`, on port 443, by name; or by address
   * on any port, `http://10.0.0.5:8000`, where plain http is for private addresses alone. The gateway reaches that address
   * and port, and nobody else does. May be a Terraform token.
   */
  readonly url: string;
  /**
   * Reference to the server's API key.
   * @default no key is sent
   */
  readonly apiKey?: Secret;
}

export interface OnHostProps extends Priced {
  /** Folder that is sent to the host whole, at most 1 GiB, and is read-only to the server; see `Runtime.command`. */
  readonly source: string;
  /**
   * Program and arguments, as for `Runtime.command`. `{port}` stands for the port on which the server must listen at
   * 127.0.0.1; it is given as `BAILIWICK_PORT` too.
   */
  readonly argv: readonly string[];
  /**
   * Plain environment variables, `{port}` among them. They stand in the spec in clear: what looks like a secret is refused.
   * @default none but `BAILIWICK_PORT`
   */
  readonly env?: Readonly<Record<string, string>>;
  /**
   * Path on its port that answers 200 when it is ready.
   * @default it counts as ready while it runs
   */
  readonly health?: string;
  /**
   * Most memory that it may take, MiB.
   * @default 2048
   */
  readonly memoryMiB?: number;
}

type HostedKind = "anthropic" | "openai" | "google" | "openrouter";

/** Where models come from. A value: one provider may serve many hosts and stacks. */
export class ModelProvider {
  readonly kind: ProviderKind;
  /** Origin of the API; null for `demo`. */
  readonly url: string | null;
  /** Reference to the API key; null where there is none. */
  readonly apiKey: Secret | null;
  /** Prices that the operator sets, by model id. */
  readonly prices: Readonly<Record<string, ModelPrice>>;
  /** What runs on the host as this provider; null for one elsewhere, and for `demo`. */
  readonly service: ModelService | null;

  private constructor(
    kind: ProviderKind,
    url: string | null,
    apiKey: Secret | null,
    prices: Readonly<Record<string, ModelPrice>> = {},
    service: ModelService | null = null,
  ) {
    this.kind = kind;
    this.url = url;
    this.apiKey = apiKey;
    this.prices = prices;
    this.service = service;
  }

  /** Whether it runs on the host, as a principal of its own. */
  get onHost(): boolean {
    return this.kind === "demo" || this.service !== null;
  }

  /** Anthropic's API, in its own format. @throws Refusal if `apiKey` is no Secret, or for a bad url */
  static anthropic(props: HostedProviderProps): ModelProvider {
    return ModelProvider.hosted("anthropic", "https://api.anthropic.com", props);
  }

  /** OpenAI's API, in its own format. @throws Refusal if `apiKey` is no Secret, or for a bad url */
  static openai(props: HostedProviderProps): ModelProvider {
    return ModelProvider.hosted("openai", "https://api.openai.com", props);
  }

  /** Google's Gemini API, in its own format. @throws Refusal if `apiKey` is no Secret, or for a bad url */
  static google(props: HostedProviderProps): ModelProvider {
    return ModelProvider.hosted("google", "https://generativelanguage.googleapis.com", props);
  }

  /**
   * OpenRouter, in OpenAI's format. An agent reaches the granted model alone: what would let OpenRouter choose another
   * (`models`, `preset`) is refused by the gateway.
   * @throws Refusal if `apiKey` is no Secret, or for a bad url
   */
  static openRouter(props: HostedProviderProps): ModelProvider {
    return ModelProvider.hosted("openrouter", "https://openrouter.ai/api", props);
  }

  /** Any other server that speaks OpenAI's format. @throws Refusal for a bad url, or an `apiKey` that is no Secret */
  static openAiCompatible(props: OpenAiCompatibleProps): ModelProvider {
    const path = "ModelProvider.openAiCompatible";
    knownKeys(path, props, ["url", "apiKey", "prices"]);
    const apiKey = props.apiKey === undefined ? null : secretReference(`${path} apiKey`, props.apiKey);
    return new ModelProvider(
      "openai-compatible",
      checkedUrl(`${path} url`, props.url),
      apiKey,
      checkedPrices(path, props.prices),
    );
  }

  /**
   * A server of OpenAI's format (llama.cpp, Ollama, one of your own) that runs on the host as a principal of its own: the
   * gateway alone reaches it, and it reaches nothing. It has no device, so it computes on the processor.
   * @throws Refusal for what `Runtime.command` refuses, and a bad amount of memory
   */
  static onHost(props: OnHostProps): ModelProvider {
    const path = "ModelProvider.onHost";
    knownKeys(path, props, ["source", "argv", "env", "health", "memoryMiB", "prices"]);
    const { memoryMiB = 2048 } = props;
    const service = checked(path, ModelService, { ...commandParts(path, props), memoryMiB });
    return new ModelProvider("openai-compatible", null, null, checkedPrices(path, props.prices), service);
  }

  /** A small scripted stand-in that runs on the host as a principal of its own and says what it is. Needs no key. */
  static demo(): ModelProvider {
    return new ModelProvider("demo", null, null);
  }

  private static hosted(kind: HostedKind, url: string, props: HostedProviderProps): ModelProvider {
    const path = `ModelProvider.${kind === "openrouter" ? "openRouter" : kind}`;
    knownKeys(path, props, ["apiKey", "url", "prices"]);
    const apiKey = secretReference(`${path} apiKey`, props.apiKey);
    return new ModelProvider(
      kind,
      checkedUrl(`${path} url`, props.url ?? url),
      apiKey,
      checkedPrices(path, props.prices),
    );
  }
}

const RATES = ["input", "output", "cacheRead", "cacheWrite", "cacheWrite1h", "contextTokens"];

function checkedPrices(path: string, prices: Priced["prices"] = {}): Record<string, ModelPrice> {
  return Object.fromEntries(
    Object.entries(prices).map(([id, price]) => {
      const at = `${path} prices["${id}"]`;
      checked(`${path} prices (a model id)`, ModelId, id);
      knownKeys(at, price, RATES);
      const { input, cacheRead = input, cacheWrite = input, cacheWrite1h = cacheWrite, contextTokens } = price;
      const rates = { ...price, cacheRead, cacheWrite, cacheWrite1h, above: null };
      return [id, checked(at, ModelPrice, { ...rates, contextTokens: contextTokens ?? 2_000_000 })];
    }),
  );
}

function checkedUrl(path: string, url: string): string {
  if (Token.isUnresolved(url)) return url; // the push checks it, once Terraform knows it
  const why = typeof url === "string" ? whySecret(url) : undefined;
  if (why !== undefined)
    throw new Refusal(`${path}: received ${why}; give the URL alone and the key as apiKey: Secret.fromEnv("NAME")`);
  const text = checked(path, ModelProviderSpec.shape.url.unwrap(), url);
  const { hostname } = new URL(text);
  if (isIP(hostname.replace(/^\[|\]$/g, "")) === 0) checked(`${path} (its host)`, DnsName, hostname);
  return text.replace(/\/$/, "");
}
