import { Narrowing } from "../runtime/policy/tools/schema.ts";
import { checked } from "./refuse.ts";

/**
 * What a granted tool's argument may be. An argument that is narrowed must be given, as text or as a list of texts, and
 * every text must fit.
 */
export class Argument {
  /** As it stands in the spec. */
  readonly narrowing: Narrowing;

  private constructor(narrowing: Narrowing) {
    this.narrowing = narrowing;
  }

  /** One of these values. @throws Refusal for no value, or one that is no text */
  static oneOf(...values: string[]): Argument {
    return new Argument(checked("Argument.oneOf", Narrowing, { kind: "enum", values }));
  }

  /** Text that this regular expression matches as a whole. @throws Refusal if it is none */
  static matching(pattern: string): Argument {
    return new Argument(checked("Argument.matching", Narrowing, { kind: "pattern", pattern }));
  }

  /**
   * This absolute path, or one below it, written without `.` and `..`. Where links lead, the server's sandbox decides.
   * @throws Refusal if it is no plain absolute path
   */
  static below(prefix: string): Argument {
    return new Argument(checked("Argument.below", Narrowing, { kind: "path-prefix", prefix }));
  }
}
