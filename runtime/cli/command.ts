import { type ParseArgsConfig, parseArgs } from "node:util";
import { UsageError } from "./errors.ts";
import type { Output } from "./output.ts";

type Options = NonNullable<ParseArgsConfig["options"]>;

/** One verb of the command: how it is called, what it does. */
export interface Command {
  /** As in `bailiwick <usage>`. */
  usage: string;
  summary: string;
  options?: Options;
  /** Number of words after the verb: at least and at most. */
  words: readonly [number, number];
  run(call: Call, output: Output): Promise<number>;
}

export interface Call {
  words: readonly string[];
  text(name: string): string | undefined;
  flag(name: string): boolean;
}

/** @throws UsageError saying what was received and how the verb is called */
export function parseCall(command: Command, args: readonly string[]): Call {
  let parsed: ReturnType<typeof parseArgs>;
  try {
    parsed = parseArgs({
      args: [...args],
      options: { ...command.options, json: { type: "boolean" }, help: { type: "boolean", short: "h" } },
      allowPositionals: true,
      strict: true,
    });
  } catch (error) {
    throw new UsageError(`${lowerFirst((error as Error).message)}\nusage: bailiwick ${command.usage}`);
  }
  const [least, most] = command.words;
  const words = parsed.positionals;
  if (!parsed.values.help && (words.length < least || words.length > most))
    throw new UsageError(
      `received ${words.length} argument${words.length === 1 ? "" : "s"}\nusage: bailiwick ${command.usage}`,
    );
  return {
    words,
    text: (name) => (typeof parsed.values[name] === "string" ? parsed.values[name] : undefined),
    flag: (name) => parsed.values[name] === true,
  };
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
