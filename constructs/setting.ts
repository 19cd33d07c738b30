import { Refusal } from "./refuse.ts";

/**
 * A deployment value that each team, CI job or person sets for itself, from an environment variable at synth. While it
 * is not set, synth works and the plan of the stack that needs it fails, naming the variable; other stacks deploy.
 */
export class Setting {
  /** Name of the environment variable. */
  readonly variable: string;
  /** What it was set to at synth, trimmed; undefined if it was unset or empty. */
  readonly value: string | undefined;

  private constructor(variable: string) {
    this.variable = variable;
    const value = process.env[variable]?.trim();
    this.value = value === "" ? undefined : value;
  }

  /**
   * @param variable name of an environment variable, such as `BAILIWICK_ADMIN_CIDR`. Not for secrets: the value is
   * written to the spec; use `Secret.fromEnv` for those.
   * @throws Refusal if it is no name of an environment variable
   */
  static fromEnv(variable: string): Setting {
    if (typeof variable !== "string" || !/^[A-Z_][A-Z0-9_]*$/.test(variable))
      throw new Refusal(
        `Setting.fromEnv: received ${JSON.stringify(variable)}; give the name of an environment variable, such as BAILIWICK_ADMIN_CIDR`,
      );
    return new Setting(variable);
  }
}
