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
    expect(show(Secret.fromSops("secrets/prod.yaml", ["providers", "anthropic"]))).toEqual({
      name: "anthropic",
      source: { kind: "sops", path: "secrets/prod.yaml", key: ["providers", "anthropic"] },
    });
    expect(show(Secret.fromSops("a.json", ["keys", 0])).name).toBe("keys");
    expect(show(Secret.fromOnePassword("op://team/Open AI/section/credential"))).toEqual({
      name: "open-ai",
      source: { kind: "op", reference: "op://team/Open AI/section/credential" },
    });
    expect(show(Secret.fromSsmParameter("/agents/openai-key:3", { region: "eu-central-1" }))).toEqual({
      name: "openai-key",
      source: { kind: "ssm", name: "/agents/openai-key:3", region: "eu-central-1" },
    });
    expect(show(Secret.fromSecretsManager("agents/keys", { field: "anthropicKey" }))).toEqual({
      name: "anthropickey",
      source: { kind: "secretsmanager", id: "agents/keys", field: "anthropicKey" },
    });
    expect(show(Secret.fromSecretsManager("agents/keys"))).toEqual({
      name: "keys",
      source: { kind: "secretsmanager", id: "agents/keys" },
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
    ["a value for a key of sops", () => Secret.fromSops("a.yaml", [LITERAL]), "Secret.fromSops: received a value that"],
    ["a key of sops as text", () => Secret.fromSops("a.yaml", "a.b" as never), "give the keys as a list"],
    ["no key of sops", () => Secret.fromSops("a.yaml", []), "Secret.fromSops.key: received []"],
    ["a key that sops would split", () => Secret.fromSops("a.yaml", ["a][b"]), "must be a key of the file"],
    ["no file of sops", () => Secret.fromSops(undefined as never, ["a"]), "Secret.fromSops.path: received nothing"],
    ["a value for a field", () => Secret.fromOnePassword(LITERAL), "give where the secret is kept, never the secret"],
    ["a field by its name", () => Secret.fromOnePassword("Anthropic"), "such as op://vault/item/field"],
    ["a vault without a field", () => Secret.fromOnePassword("op://team/Anthropic"), "such as op://vault/item/field"],
    ["a value for a parameter", () => Secret.fromSsmParameter(LITERAL), "give where the secret is kept"],
    ["an option for a parameter", () => Secret.fromSsmParameter("--debug"), "must be the name or ARN of a parameter"],
    ["a file for a parameter", () => Secret.fromSsmParameter("file:///etc/shadow"), "must be the name or ARN"],
    [
      "a URL for a secret",
      () => Secret.fromSecretsManager("http://192.0.2.1/x"),
      "must be the name or ARN of a secret",
    ],
    ["a region that is none", () => Secret.fromSsmParameter("/a", { region: "Frankfurt" }), "such as eu-central-1"],
    [
      "a field of a parameter",
      () => Secret.fromSsmParameter("/a", { field: "x" } as never),
      'unknown key "field"; it takes name, region',
    ],
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
