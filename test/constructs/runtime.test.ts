import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { Fn } from "cdktf";
import { beforeEach, describe, expect, it } from "vitest";
import { type CommandProps, Runtime } from "../../constructs/index.ts";
import { treeDigest } from "../../constructs/source-folder.ts";
import { temporaryFolder } from "./synthesised.ts";

const command = (props: Partial<CommandProps>) => () =>
  Runtime.command({ source: "examples/command-agent/daemon", argv: ["node", "./main.mjs"], ...props });

describe("a command runtime", () => {
  it("stands in the spec with its folder relative to the project", () => {
    const relative = command({ health: "/healthz", env: { MODE: "calm" } })().spec;
    expect(relative).toEqual({
      kind: "command",
      source: "./examples/command-agent/daemon",
      argv: ["node", "./main.mjs"],
      env: { MODE: "calm" },
      health: "/healthz",
      ask: null,
    });
    expect(command({ source: join(process.cwd(), "examples/command-agent/daemon") })().spec).toMatchObject({
      source: "./examples/command-agent/daemon",
    });
    const outside = temporaryFolder();
    expect(command({ source: outside })().spec).toMatchObject({ source: outside });
  });

  it.each<[string, () => unknown, string]>([
    [
      "the root folder",
      command({ source: "/" }),
      'Runtime.command source: received "/"; it contains the home directory',
    ],
    ["the home folder", command({ source: homedir() }), "it is the home directory, which would be sent to the host"],
    ["a folder above it", command({ source: dirname(homedir()) }), "the home directory, which would be sent"],
    ["the project", command({ source: "." }), 'received "."; it contains the project, with Terraform\'s state in it'],
    ["a folder above it", command({ source: ".." }), "it contains the project"],
    ["~", command({ source: "~/agent" }), "no shell expands ~"],
    ["a folder there is not", command({ source: "nowhere" }), 'received "nowhere"; there is no folder'],
    ["a file", command({ source: "package.json" }), 'received "package.json"; there is no folder'],
    ["an empty source", command({ source: "" }), "give the path of a folder"],
    ["a token", command({ source: Fn.trimspace("x") }), "Runtime.command source: received a Terraform token"],
    ["no program", command({ argv: [] }), "Runtime.command argv: received []"],
    [
      "a program by name",
      command({ argv: ["python3", "x.py"] }),
      'argv[0]: received "python3"; give node, an absolute',
    ],
    [
      "a key among arguments",
      command({ argv: ["node", "sk-abcdefghijkl"] }),
      "Runtime.command argv[1]: received a value that",
    ],
    ["a token among arguments", command({ argv: ["node", Fn.trimspace("x")] }), "argv[1]: received a Terraform token"],
    [
      "a token in the environment",
      command({ env: { MODE: Fn.trimspace("x") } }),
      "env.MODE: received a Terraform token",
    ],
    ["a bad variable name", command({ env: { "a-b": "x" } }), "Runtime.command.env.a-b"],
    ["a number in the environment", command({ env: { MODE: 1 as never } }), "Runtime.command.env.MODE: received 1"],
    [
      "a path that is none",
      command({ health: "healthz" }),
      'Runtime.command.health: received "healthz"; must be an absolute',
    ],
    ["an unknown key", command({ cwd: "/" } as never), 'Runtime.command: unknown key "cwd"; it takes source, argv'],
    [
      "an unknown key of OpenClaw",
      () => Runtime.openClaw({ verson: "1" } as never),
      'Runtime.openClaw: unknown key "verson"',
    ],
    [
      "a version that is none",
      () => Runtime.openClaw({ version: "newest" }),
      'Runtime.openClaw.version: received "newest"',
    ],
    [
      "a token for a version",
      () => Runtime.openClaw({ version: Fn.trimspace("x") }),
      "version: received a Terraform token",
    ],
    ["a model by text", () => Runtime.openClaw({ model: "a/b" as never }), 'Runtime.openClaw model: received "a/b"'],
  ])("refuses %s", (_what, make, message) => {
    expect(make).toThrow(message);
  });

  it("refuses a folder with Terraform state, and a link to the home folder", () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "terraform.local.tfstate"), "{}");
    expect(command({ source: folder })).toThrow("it contains Terraform state (terraform.local.tfstate)");
    const link = join(temporaryFolder(), "link");
    symlinkSync(homedir(), link);
    expect(command({ source: link })).toThrow("it is the home directory");
  });
});

describe("the digest of a folder", () => {
  let folder: string;
  const digest = () => treeDigest([{ label: "agent", path: folder }]);

  beforeEach(() => {
    folder = temporaryFolder();
    mkdirSync(join(folder, "lib"));
    writeFileSync(join(folder, "lib", "a.mjs"), "a");
  });

  it.each<[string, () => void]>([
    ["content", () => writeFileSync(join(folder, "lib", "a.mjs"), "b")],
    ["a new file", () => writeFileSync(join(folder, "lib", "b.mjs"), "")],
    ["a removed file", () => rmSync(join(folder, "lib", "a.mjs"))],
    ["an execute bit", () => chmodSync(join(folder, "lib", "a.mjs"), 0o755)],
    ["a link", () => symlinkSync("a.mjs", join(folder, "lib", "c.mjs"))],
  ])("changes with %s", (_what, change) => {
    const before = digest();
    expect(digest()).toBe(before);
    change();
    expect(digest()).not.toBe(before);
  });

  it("does not depend on where the folder is", () => {
    const before = digest();
    folder = temporaryFolder();
    mkdirSync(join(folder, "lib"));
    writeFileSync(join(folder, "lib", "a.mjs"), "a");
    expect(digest()).toBe(before);
  });
});
