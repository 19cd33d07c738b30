import { describe, expect, it } from "vitest";
import { type Command, parseCall } from "../../../runtime/cli/command.ts";
import { UsageError } from "../../../runtime/cli/errors.ts";

const command: Command = {
  usage: "greet <host> [<word>] [--loud] [--times <number>] [--json]",
  summary: "says hello",
  options: { loud: { type: "boolean" }, times: { type: "string", short: "t" } },
  words: [1, 2],
  run: async () => 0,
};
const parse = (...args: string[]) => parseCall(command, args);

describe("a command line", () => {
  it("gives words and options in any order", () => {
    const call = parse("--loud", "ops", "-t", "3", "hello");
    expect(call.words).toEqual(["ops", "hello"]);
    expect([call.flag("loud"), call.flag("json"), call.text("times")]).toEqual([true, false, "3"]);
  });

  it("takes what follows -- as words, whatever it looks like", () => {
    expect(parse("ops", "--", "--loud")).toMatchObject({ words: ["ops", "--loud"] });
  });

  it("tells a flag from a text: neither stands for the other", () => {
    const call = parse("ops", "--loud", "--times=3");
    expect([call.text("loud"), call.flag("times"), call.text("absent")]).toEqual([undefined, false, undefined]);
  });

  it("may ask for help with no words", () => {
    expect(parse("--help").flag("help")).toBe(true);
    expect(parse("-h").flag("help")).toBe(true);
  });

  it.each([
    [[], "received 0 arguments"],
    [["a", "b", "c"], "received 3 arguments"],
    [["ops", "--quiet"], "unknown option '--quiet'"],
    [["ops", "--times"], "option '-t, --times <value>' argument missing"],
    [["ops", "--loud=yes"], "option '--loud' does not take an argument"],
  ])("%j is refused, saying how the command is called", (args, message) => {
    expect(() => parse(...args)).toThrow(UsageError);
    expect(() => parse(...args)).toThrow(message);
    expect(() => parse(...args)).toThrow(`\nusage: bailiwick ${command.usage}`);
  });
});
