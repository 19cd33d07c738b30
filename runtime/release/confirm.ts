import type { ActivateAnswer } from "../spec/activator.ts";
import type { HostSpec } from "../spec/host-spec.ts";
import type { Connection } from "../ssh/connection.ts";
import { type Activator, HostError } from "./activator-client.ts";

/** The new release did not become healthy and was undone; what served before serves again. */
export class UnhealthyError extends Error {
  readonly answer: ActivateAnswer;
  constructor(answer: ActivateAnswer) {
    const kept =
      answer.previous === null
        ? "there was none before, the host is closed"
        : `release ${answer.previous.slice(0, 12)} serves again`;
    super(`the new release did not become healthy and was undone; ${kept}\n${answer.problems.join("\n")}`);
    this.name = "UnhealthyError";
    this.answer = answer;
  }
}

/** The new release is healthy, but the host could not be reached anew to say so; it takes the release back by itself. */
export class UnconfirmedError extends Error {
  constructor(release: string, seconds: number, cause: Error) {
    super(
      `release ${release.slice(0, 12)} is healthy but could not be confirmed over a fresh connection: ${cause.message}\n` +
        `the host takes it back within ${seconds} s of its start; see \`bailiwick status\`, then push again`,
      { cause },
    );
    this.name = "UnconfirmedError";
  }
}

/** How a release is activated and made to stay. */
export interface Activation {
  readonly activator: Activator;
  readonly token: string;
  readonly digest: string;
  readonly why: string;
  readonly spec: HostSpec;
  readonly restoreState: boolean;
  /** Logs in anew, as the next operator would have to. */
  readonly reconnect: () => Promise<Connection>;
  readonly progress: (line: string) => void;
  /** The activator on another connection. */
  readonly activatorOn: (connection: Connection) => Activator;
}

/**
 * Activates a staged release, and confirms it over a fresh connection: that somebody can still log in is part of being
 * healthy. The lock is held meanwhile by the connection before.
 * @throws UnhealthyError, UnconfirmedError, HostError
 */
export async function activateAndConfirm(activation: Activation): Promise<ActivateAnswer> {
  const { activator, token, digest, why, spec, restoreState } = activation;
  const { healthSeconds, confirmSeconds, drainSeconds } = spec.timeouts;
  const started = performance.now();
  const waiting = setInterval(() => {
    const waited = Math.round((performance.now() - started) / 1000);
    activation.progress(`waiting until its units are ready, ${waited} s; they have ${healthSeconds}`);
  }, 10_000);
  const answer = await activator
    .activate({
      ...{ token, digest, why, restoreState },
      ...{ healthSeconds, confirmSeconds, drainSeconds, keep: spec.keepReleases },
    })
    .finally(() => clearInterval(waiting));
  if (!answer.healthy) throw new UnhealthyError(answer);
  if (!answer.confirm) return answer;
  let fresh: Connection | undefined;
  try {
    fresh = await activation.reconnect();
    await activation.activatorOn(fresh).confirm(token, digest, spec.keepReleases);
  } catch (error) {
    // what the host itself says is the better reason
    if (error instanceof HostError) throw error;
    throw new UnconfirmedError(digest, confirmSeconds, error as Error);
  } finally {
    await fresh?.close();
  }
  return { ...answer, confirm: false };
}
