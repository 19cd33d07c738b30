import type * as z from "zod";
import {
  type ActivateAnswer,
  ActivateAnswer as ActivateAnswerSchema,
  type ActivateRequest,
  AskAnswer,
  CheckAnswer,
  ConfirmAnswer,
  CurrentFiles,
  HostFacts,
  HostStatus,
  LockedAnswer,
  ReleaseList,
  SealAnswer,
  type SealRequest,
  SpendAnswer,
  type StageRequest,
} from "../spec/activator.ts";
import { type GuardAnswer, GuardAnswer as GuardAnswerSchema, type GuardRequest } from "../spec/guard-admin.ts";
import type { Connection } from "../ssh/connection.ts";
import { UnreachableError } from "../ssh/errors.ts";
import { LineChannel } from "../ssh/line-channel.ts";

/** An action the host refused or failed at, in the host's own words. */
export class HostError extends Error {
  readonly verb: string;
  constructor(verb: string, message: string) {
    super(message);
    this.name = "HostError";
    this.verb = verb;
  }
}

const DIGEST = /^[0-9a-f]{64}$/;

/** Verbs that go on when the connection is cut in their midst, and so have a process of their own. */
const OUTLIVES_ITS_CONNECTION: ReadonlySet<string> = new Set(["activate", "confirm"]);

/** The activator on a host: one exec channel per verb, JSON in and out. */
export class Activator {
  readonly #connection: Connection;
  readonly #command: string;
  readonly #node: string;
  readonly #activator: string;
  #underLock: LineChannel | undefined;

  /** @param node, activator digests of the components to run; both are on the host already */
  constructor(connection: Connection, node: string, activator: string) {
    if (!DIGEST.test(node) || !DIGEST.test(activator))
      throw new Error("the activator is named by the digests of its components");
    this.#connection = connection;
    this.#node = node;
    this.#activator = activator;
    this.#command = `sudo -n /opt/bailiwick/components/${node}/bin/node /opt/bailiwick/components/${activator}/activator.mjs`;
  }

  /**
   * The activator of the host's current release, or of the newest one on it where the link to the current one is broken.
   * @throws HostError if there is no release yet
   */
  static async ofCurrentRelease(connection: Connection): Promise<Activator> {
    const { code, stdout } = await connection.exec(
      'cd /opt/bailiwick && cat current/manifest.json 2>/dev/null || { set -- $(ls -t releases/*/manifest.json 2>/dev/null); cat "$1"; }',
    );
    if (code !== 0)
      throw new HostError("status", "there is no release on this host yet; push one with `bailiwick push`");
    const { components } = JSON.parse(stdout) as { components: Record<string, string> };
    return new Activator(connection, components.node ?? "", components.activator ?? "");
  }

  /** The same program over another connection to the same host. */
  on(connection: Connection): Activator {
    return new Activator(connection, this.#node, this.#activator);
  }

  facts(): Promise<HostFacts> {
    return this.#call("facts", undefined, HostFacts);
  }

  status(): Promise<HostStatus> {
    return this.#call("status", undefined, HostStatus);
  }

  releases(): Promise<ReleaseList> {
    return this.#call("releases", undefined, ReleaseList);
  }

  files(): Promise<CurrentFiles> {
    return this.#call("files", undefined, CurrentFiles);
  }

  look(components: readonly string[]): Promise<CheckAnswer> {
    return this.#call("look", { components }, CheckAnswer);
  }

  check(token: string, components: readonly string[]): Promise<CheckAnswer> {
    return this.#call("check", { token, components }, CheckAnswer);
  }

  confirm(token: string, digest: string, keep: number): Promise<ConfirmAnswer> {
    return this.#call("confirm", { token, digest, keep }, ConfirmAnswer);
  }

  seal(request: SealRequest): Promise<SealAnswer> {
    return this.#call("seal", request, SealAnswer);
  }

  async stage(request: StageRequest): Promise<void> {
    await this.#run("stage", request);
  }

  activate(request: ActivateRequest): Promise<ActivateAnswer> {
    return this.#call("activate", request, ActivateAnswerSchema);
  }

  ask(agent: string, message: string, timeoutSeconds: number): Promise<AskAnswer> {
    return this.#call("ask", { agent, message, timeoutSeconds }, AskAnswer);
  }

  /** Asks the MCP guard, as root. @throws HostError if the host has none */
  guard(request: GuardRequest): Promise<GuardAnswer> {
    return this.#call("guard", request, GuardAnswerSchema);
  }

  spend(): Promise<SpendAnswer> {
    return this.#call("spend", undefined, SpendAnswer);
  }

  /**
   * Holds the host's lock while `body` runs. The lock lives as long as its channel: a cut connection frees it. What `body`
   * asks of `held` is done by the process that holds the lock, but activating and confirming: these must outlive a cut.
   * `held` is for a push, which brings its own activator: one of an earlier kit does not answer under the lock.
   * @throws HostError naming who holds it
   */
  async withLock<T>(who: string, why: string, body: (token: string, held: Activator) => Promise<T>): Promise<T> {
    const channel = new LineChannel(await this.#connection.stream(`${this.#command} lock`));
    try {
      const token = await channel
        .ask(JSON.stringify({ who, why }))
        .catch((error: Error) =>
          Promise.reject(error instanceof UnreachableError ? error : new HostError("lock", error.message)),
        );
      const held = new Activator(this.#connection, this.#node, this.#activator);
      held.#underLock = channel;
      return await body((JSON.parse(token) as { token: string }).token, held);
    } finally {
      channel.end();
    }
  }

  async #call<T>(verb: string, input: unknown, schema: z.ZodType<T>): Promise<T> {
    const text = await this.#run(verb, input);
    try {
      return schema.parse(JSON.parse(text));
    } catch (error) {
      throw new HostError(
        verb,
        `the host's ${verb} answered what this kit does not read; its release was pushed by another version of the kit, so push first (${(error as Error).message.replace(/\s+/g, " ").slice(0, 200)})`,
      );
    }
  }

  async #run(verb: string, input: unknown): Promise<string> {
    if (this.#underLock !== undefined && !OUTLIVES_ITS_CONNECTION.has(verb)) {
      const line = await this.#underLock.ask(JSON.stringify({ verb, input }));
      const answer = LockedAnswer.parse(JSON.parse(line));
      if ("error" in answer) throw new HostError(verb, answer.error);
      return JSON.stringify(answer.value);
    }
    const { code, stdout, stderr } = await this.#connection.exec(`${this.#command} ${verb}`, {
      stdin: input === undefined ? "" : JSON.stringify(input),
    });
    if (code !== 0) throw new HostError(verb, stderr.trim() || `the host's ${verb} ended with exit code ${code}`);
    return stdout;
  }
}
