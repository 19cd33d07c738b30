import { inspect } from "node:util";
import { Fn } from "cdktf";
import { describe, expect, it } from "vitest";
import { ModelProvider, Runtime, Secret } from "../../constructs/index.ts";

const LITERAL = "sk-ant-api03-abcdefghijklmnop";

describe("a secret", () => {
  it("is a reference, named after what it refers to", () => {
    const show = ({ name, source }: Secret) => ({ name, source });
    expect(show(Secret.fromEnv("ANTHROPIC_API_KEY"))).toEqual({
      name: "anthropic-api-key",
      source: { kind: "env", variable: "ANTHROPIC_API_KEY" },
    });
    expect(show(Secret.fromFile("~/keys/openai.txt"))).toEqual({
      name: "openai",
      source: { kind: "file", path: "~/keys/openai.txt" },
    });
    expect(show(Secret.fromCommand(["pass", "show", "team/key"]))).toEqual({
      name: "team-key",
      source: { kind: "command", argv: ["pass", "show", "team/key"] },
    });
    expect(Secret.fromEnv("KEY", { name: "other" }).name).toBe("other");
  });

  it("shows its name alone, however it is printed", () => {
    const secret = Secret.fromCommand(["vault", "--token-file=telling", "key"]);
    for (const shown of [
      `${secret}`,
      String(secret),
      JSON.stringify({ secret }),
      inspect(secret),
      inspect({ secret }),
    ]) {
      expect(shown).toContain("[secret key]");
      expect(shown).not.toContain("telling");
    }
  });

  it.each<[string, () => unknown, string]>([
    [
      "a value for a variable's name",
      () => Secret.fromEnv(LITERAL),
      "give the variable's name, such as ANTHROPIC_API_KEY",
    ],
    ["a value for a path", () => Secret.fromFile(LITERAL), "give the path of a file that holds the secret"],
    ["a value among arguments", () => Secret.fromCommand(["echo", LITERAL]), "Secret.fromCommand[1]: received"],
    ["a command line as text", () => Secret.fromCommand("pass show key" as never), "no shell splits it"],
    ["no arguments", () => Secret.fromCommand([]), "Secret.fromCommand"],
    ["a token", () => Secret.fromEnv(Fn.upper("x")), "received a Terraform token"],
    ["a name too long", () => Secret.fromEnv("A_VERY_LONG_NAME_OF_A_KEY"), 'set one as { name: "…" }'],
    ["a bad name", () => Secret.fromEnv("KEY", { name: "Not A Name" }), 'received "Not A Name"'],
    ["an unknown option", () => Secret.fromEnv("KEY", { nmae: "x" } as never), 'unknown key "nmae"'],
    [
      "a literal for a key",
      () => ModelProvider.anthropic({ apiKey: LITERAL as never }),
      "where a reference to a secret",
    ],
    ["no key", () => ModelProvider.openai({} as never), "received nothing where a reference to a secret belongs"],
    [
      "a literal for an optional key",
      () => ModelProvider.openAiCompatible({ url: "https://llm.example.com", apiKey: LITERAL as never }),
      "never the secret itself",
    ],
  ])("is refused: %s", (_what, make, message) => {
    expect(make).toThrow(message);
    expect(make).not.toThrow(LITERAL);
  });

  it.each([
    ["sk-abcdefghijkl"],
    [LITERAL],
    ["ghp_abcdefghijkl"],
    ["github_pat_abcdefghijkl"],
    ["xoxb-1234567890"],
    ["AKIAABCDEFGHIJKLMNOP"],
    ["Bearer sk-abcdefghijkl"],
    ["-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA"],
    ["-----BEGIN PRIVATE KEY-----"],
    ["postgres://ada:pw@db.example.com/x"],
    ["https://token@git.example.com/x.git"],
    [`${Secret.fromEnv("KEY")}`],
  ])("is found in a plain environment variable: %j", (value) => {
    const make = () => Runtime.command({ source: "test", argv: ["node", "x"], env: { VALUE: value } });
    expect(make).toThrow(/^Runtime\.command env\.VALUE: received /);
    expect(make).not.toThrow(value);
  });

  it.each([
    ["hello"],
    ["https://api.example.com/v1?x=a@b"],
    ["task-list"],
    ["sk-"],
    ["mask-abcdefghijkl"],
    ["ada@example.com"],
  ])("is not seen in what is none: %j", (value) => {
    const runtime = Runtime.command({ source: "test", argv: ["node", "x"], env: { VALUE: value } });
    expect(runtime.spec).toMatchObject({ env: { VALUE: value } });
  });
});
