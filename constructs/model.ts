import { Construct } from "constructs";
import { type Budget, InvokeGrant } from "../runtime/policy/models/schema.ts";
import { type Agent, granteeOf } from "./agent.ts";
import { type BudgetProps, budgetOf } from "./budget.ts";
import type { GrantBook } from "./grants.ts";
import type { ModelProvider } from "./model-provider.ts";
import { checked, knownKeys, refuse } from "./refuse.ts";

export interface InvokeProps extends BudgetProps {
  /** Model ids the agent may ask for, as the provider writes them; the gateway refuses all others. */
  readonly models: readonly string[];
}

export interface ModelProps {
  /**
   * What all agents together may spend with this provider.
   * @default no cap
   */
  readonly budget?: BudgetProps;
}

const Models = InvokeGrant.shape.models;

/** A model provider on a host, reached through the host's gateway alone. Made by `host.addModel`. */
export class Model extends Construct {
  readonly name: string;
  readonly provider: ModelProvider;
  /** Unix uid of a provider that runs on the host (`demo`); null for all others. */
  readonly uid: number | null;
  /** What all agents together may spend with it. */
  readonly budget: Budget;
  readonly #book: GrantBook;

  /** @internal use `host.addModel` */
  constructor(
    scope: Construct,
    book: GrantBook,
    name: string,
    parts: { provider: ModelProvider; uid: number | null; budget: Budget },
  ) {
    super(scope, `model-${name}`);
    this.#book = book;
    this.name = name;
    this.provider = parts.provider;
    this.uid = parts.uid;
    this.budget = parts.budget;
  }

  /**
   * The agent may call these models of this provider, with a virtual key of its own, and spend so much on them. Under any
   * budget (this one, the agent's, the provider's, the host's) each model must have a price, the list's or one set as
   * `prices` of the provider: synth refuses one that is not known.
   * @throws Refusal for an agent of another host, no models, an id given twice, an amount that is none, a token, or
   * a second grant of this provider to the same agent
   */
  grantInvoke(agent: Agent, props: InvokeProps): this {
    const path = this.#book.path(`models.${this.name}.grantInvoke`);
    const grantee = granteeOf(this.#book, path, agent);
    knownKeys(path, props, ["models", "usdPerDay", "usdPerMonth"]);
    const models = checked(`${path}.models`, Models, props.models);
    const twice = models.find((id, i) => models.indexOf(id) !== i);
    if (twice !== undefined) refuse(`${path}.models`, twice, "it is in the list twice; remove one");
    const { models: _, ...budget } = props;
    this.#book.invoke({ agent: grantee.name, model: this.name, models, budget: budgetOf(path, budget) });
    return this;
  }
}
