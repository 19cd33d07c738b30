import { hostPrincipals } from "../policy/egress/principals.ts";
import {
  type Attempt,
  type Listener,
  type Outcome,
  type ProbedHost,
  type Subject,
  UnprovableError,
} from "../policy/probe.ts";
import type { PrincipalId } from "../spec/names.ts";
import type { AttemptBatch, BatchAnswer } from "./remote.ts";

/** What is known of a host before its probes are tried. */
export interface HostFacts {
  readonly resolvers: readonly string[];
  readonly listening: readonly Listener[];
  /** The host's clock when verify began, seconds. */
  readonly since: number;
}

interface Asked {
  readonly unit: string | null;
  readonly attempt: Attempt;
  readonly settle: (outcome: Outcome) => void;
  readonly fail: (error: Error) => void;
}

/**
 * A host on which whatever its probes ask in the same moment is tried together: one command, and one start of each
 * principal's probe unit, however many probes there are. The same thing asked twice as root is tried once.
 */
export class BatchingHost implements ProbedHost {
  readonly resolvers: readonly string[];
  readonly listening: readonly Listener[];
  readonly #since: number;
  readonly #run: (batch: AttemptBatch) => Promise<BatchAnswer>;
  readonly #units: ReadonlyMap<PrincipalId, string>;
  readonly #rootAsked = new Map<string, Promise<Outcome>>();
  #asked: Asked[] = [];
  #serve = new Set<number>();
  #under: Promise<BatchAnswer> | null = null;
  #egressLog: Promise<readonly string[]> | null = null;

  constructor(subject: Subject, facts: HostFacts, run: (batch: AttemptBatch) => Promise<BatchAnswer>) {
    this.resolvers = facts.resolvers;
    this.listening = facts.listening;
    this.#since = facts.since;
    this.#run = run;
    this.#units = new Map(hostPrincipals(subject.spec).map(({ id, unit }) => [id, unit]));
  }

  as(principal: PrincipalId, attempt: Attempt): Promise<Outcome> {
    const unit = this.#units.get(principal);
    if (unit === undefined) throw new Error(`received principal "${principal}", which this host does not have`);
    return this.#ask(unit, attempt);
  }

  root(attempt: Attempt): Promise<Outcome> {
    const key = JSON.stringify(attempt);
    const asked = this.#rootAsked.get(key) ?? this.#ask(null, attempt);
    this.#rootAsked.set(key, asked);
    return asked;
  }

  async reach(principal: PrincipalId, port: number): Promise<{ outcome: Outcome; listens: boolean }> {
    const listened = this.listening.some((one) => one.protocol === "tcp" && one.port === port);
    if (!listened) this.#serve.add(port);
    const asked = this.as(principal, { do: "connect", host: "127.0.0.1", port });
    const batch = this.#batch();
    const outcome = await asked;
    return { outcome, listens: listened || (await batch).served.includes(port) };
  }

  egressLog(): Promise<readonly string[]> {
    // a connection is logged when it has ended, which may be a moment after its client knows
    const script = `sleep 0.3; journalctl --sync; journalctl -qu bailiwick-egress.service -o cat --no-pager --since @${Math.floor(this.#since)}`;
    this.#egressLog ??= this.#ask(null, { do: "run", argv: ["/bin/sh", "-c", script], seconds: 20 }).then((outcome) => {
      if (!outcome.ok) throw new UnprovableError("the egress proxy's log could not be read");
      return (outcome.value as { stdout: string }).stdout.split("\n");
    });
    return this.#egressLog;
  }

  #ask(unit: string | null, attempt: Attempt): Promise<Outcome> {
    return new Promise((settle, fail) => {
      this.#asked.push({ unit, attempt, settle, fail });
      this.#batch();
    });
  }

  /** The batch that what is asked in this moment travels in. */
  #batch(): Promise<BatchAnswer> {
    this.#under ??= new Promise<BatchAnswer>((resolve, reject) => {
      setImmediate(() => {
        const asked = this.#asked;
        const serve = [...this.#serve];
        this.#asked = [];
        this.#serve = new Set();
        this.#under = null;
        // what is logged after this is for whoever asks again
        this.#egressLog = null;
        this.#send(asked, serve).then(resolve, reject);
      });
    });
    // whoever asked is told by `fail`; the batch itself may have nobody waiting for it
    this.#under.catch(() => {});
    return this.#under;
  }

  async #send(asked: readonly Asked[], serve: readonly number[]): Promise<BatchAnswer> {
    const of = (unit: string | null) => asked.filter((one) => one.unit === unit);
    const units = [...new Set(asked.flatMap(({ unit }) => (unit === null ? [] : [unit])))];
    try {
      const answer = await this.#run({
        root: of(null).map(({ attempt }) => attempt),
        sandboxes: Object.fromEntries(units.map((unit) => [unit, of(unit).map(({ attempt }) => attempt)])),
        serve,
      });
      hand(of(null), answer.root);
      for (const unit of units) {
        const found = answer.sandboxes[unit];
        if (found !== undefined && "outcomes" in found) hand(of(unit), found.outcomes);
        else
          for (const one of of(unit))
            one.fail(new UnprovableError(`the probe unit of ${unit} did not run: ${found?.error ?? "no answer"}`));
      }
      return answer;
    } catch (error) {
      for (const one of asked) one.fail(error as Error);
      throw error;
    }
  }
}

function hand(asked: readonly Asked[], outcomes: readonly Outcome[]): void {
  for (const [i, one] of asked.entries()) {
    const outcome = outcomes[i];
    if (outcome === undefined) one.fail(new UnprovableError("the host did not say how this attempt went"));
    else one.settle(outcome);
  }
}
