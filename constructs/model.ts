import { Construct } from "constructs";
import { InvokeGrant } from "../runtime/policy/models/schema.ts";
import { type Agent, granteeOf } from "./agent.ts";
import type { GrantBook } from "./grants.ts";
import type { ModelProvider } from "./model-provider.ts";
import { checked, knownKeys, refuse } from "./refuse.ts";

export interface InvokeProps {
  /** Model ids the agent may ask for, as the provider writes them; the gateway refuses all others. */
  readonly models: readonly string[];
}

const Models = InvokeGrant.shape.models;

/** A model provider on a host, reached through the host's gateway alone. Made by `host.addModel`. */
export class Model extends Construct {
  readonly name: string;
  readonly provider: ModelProvider;
  /** Unix uid of a provider that runs on the host (`demo`); null for all others. */
  readonly uid: number | null;
  readonly #book: GrantBook;

  /** @internal use `host.addModel` */
  constructor(scope: Construct, book: GrantBook, name: string, provider: ModelProvider, uid: number | null) {
    super(scope, `model-${name}`);
    this.#book = book;
    this.name = name;
    this.provider = provider;
    this.uid = uid;
  }

  /**
   * The agent may call these models of this provider, with a virtual key of its own.
   * @throws Refusal for an agent of another host, no models, an id given twice, a token, or
   * a second grant of this provider to the same agent
   */
  grantInvoke(agent: Agent, props: InvokeProps): this {
    const path = this.#book.path(`models.${this.name}.grantInvoke`);
    const grantee = granteeOf(this.#book, path, agent);
    knownKeys(path, props, ["models"]);
    const models = checked(`${path}.models`, Models, props.models);
    const twice = models.find((id, i) => models.indexOf(id) !== i);
    if (twice !== undefined) refuse(`${path}.models`, twice, "it is in the list twice; remove one");
    this.#book.invoke({ agent: grantee.name, model: this.name, models });
    return this;
  }
}
