import { Construct } from "constructs";
import { Budget, CallLimits, InvokeGrant, NO_LIMITS } from "../runtime/policy/models/schema.ts";
import { type Agent, granteeOf } from "./agent.ts";
import type { BudgetProps } from "./budget.ts";
import type { GrantBook } from "./grants.ts";
import type { ModelProvider } from "./model-provider.ts";
import { checked, knownKeys, refuse } from "./refuse.ts";

export interface InvokeProps extends BudgetProps {
  /** Model ids the agent may ask for, as the provider writes them; the gateway refuses all others. */
  readonly models: readonly string[];
  /**
   * Calls per minute.
   * @default no limit
   */
  readonly requestsPerMinute?: number;
  /**
   * Tokens per minute, counted when a call has ended: those under way can pass it, a budget they cannot.
   * @default no limit
   */
  readonly tokensPerMinute?: number;
  /**
   * Calls under way at once, streams among them.
   * @default no limit
   */
  readonly concurrentCalls?: number;
}

export interface ModelProps {
  /**
   * What all agents together may spend with this provider.
   * @default no cap
   */
  readonly budget?: BudgetProps;
  /**
   * Provider of the same wire format that is asked in its place when it cannot be reached or answers 429 or 5xx, before
   * the first byte of an answer. An agent must be granted the same models there.
   * @default none
   */
  readonly fallback?: Model;
  /**
   * Whether the gateway logs the first 8 KiB of each question and each answer, beside its line for the call. What looks like
   * a secret is left out; what is personal is not. It goes to the host's journal, which root reads.
   * @default false: no content is logged
   */
  readonly logContent?: boolean;
}

const Models = InvokeGrant.shape.models;

/** A model provider on a host, reached through the host's gateway alone. Made by `host.addModel`. */
export class Model extends Construct {
  readonly name: string;
  readonly provider: ModelProvider;
  /** Unix uid of a provider that runs on the host (`demo`, `onHost`); null for all others. */
  readonly uid: number | null;
  /** What all agents together may spend with it. */
  readonly budget: Budget;
  /** Name of the provider that is asked in its place; null if none is. */
  readonly fallback: string | null;
  /** Whether what is asked and answered is logged. */
  readonly logContent: boolean;
  /** @internal */
  readonly book: GrantBook;

  /** @internal use `host.addModel` */
  constructor(
    scope: Construct,
    book: GrantBook,
    name: string,
    parts: {
      provider: ModelProvider;
      uid: number | null;
      budget: Budget;
      fallback: string | null;
      logContent: boolean;
    },
  ) {
    super(scope, `model-${name}`);
    this.book = book;
    this.name = name;
    this.provider = parts.provider;
    this.uid = parts.uid;
    this.budget = parts.budget;
    this.fallback = parts.fallback;
    this.logContent = parts.logContent;
  }

  /**
   * The agent may call these models of this provider, with a virtual key of its own, and spend so much on them. Under any
   * budget (this one, the agent's, the provider's, the host's) each model must have a price, the list's or one set as
   * `prices` of the provider: synth refuses one that is not known.
   * @throws Refusal for an agent of another host, no models, an id given twice, an amount that is none, a token, or
   * a second grant of this provider to the same agent
   */
  grantInvoke(agent: Agent, props: InvokeProps): this {
    const path = this.book.path(`models.${this.name}.grantInvoke`);
    const grantee = granteeOf(this.book, path, agent);
    knownKeys(path, props, [
      "models",
      "usdPerDay",
      "usdPerMonth",
      "requestsPerMinute",
      "tokensPerMinute",
      "concurrentCalls",
    ]);
    const models = checked(`${path}.models`, Models, props.models);
    const twice = models.find((id, i) => models.indexOf(id) !== i);
    if (twice !== undefined) refuse(`${path}.models`, twice, "it is in the list twice; remove one");
    const { models: _, usdPerDay = null, usdPerMonth = null, ...limits } = props;
    this.book.invoke({
      agent: grantee.name,
      model: this.name,
      models,
      budget: checked(path, Budget, { usdPerDay, usdPerMonth }),
      limits: checked(path, CallLimits, { ...NO_LIMITS, ...limits }),
    });
    return this;
  }
}
