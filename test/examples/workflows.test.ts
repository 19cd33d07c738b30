import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const files = readdirSync("examples", { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".yml"));

/** What is wrong with a workflow, a line each. */
function problems(text: string): string[] {
  const lines = text.split("\n");
  const uses = lines.filter((line) => /^\s*(- )?uses:/.test(line));
  const scripts = text.matchAll(/^( *)(?:- )?run: (?:\|\n((?:\1 .*\n|\n)+)|(.*)\n)/gm);
  return [
    ...uses.flatMap((line) =>
      /uses: [\w.-]+\/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(line)
        ? []
        : [`not pinned by commit: ${line.trim()}`],
    ),
    ...[...scripts].flatMap(([, , block = "", line = ""]) =>
      /\$\{\{/.test(block + line) ? [`GitHub writes a value into the script: ${(block + line).trim()}`] : [],
    ),
    ...(/^permissions: \{\}$/m.test(text) ? [] : ["every job has GitHub's default permissions"]),
    ...(/AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY)/.test(text) ? ["keys of AWS are stored; use OIDC"] : []),
  ];
}

describe("workflows of the examples", () => {
  it("there are some", () => {
    expect(files.length).toBeGreaterThan(0);
  });

  it.each(files)("%s pins every action by commit, and writes no value into a script", (file) => {
    expect(problems(readFileSync(`examples/${file}`, "utf8"))).toEqual([]);
  });

  it("the rules refuse what they are there to refuse", () => {
    const bad = `jobs:
  a:
    steps:
      - uses: actions/checkout@v4
      - run: echo \${{ secrets.X }}
      - run: |
          true
          echo \${{ github.event.issue.title }}
        env:
          AWS_SECRET_ACCESS_KEY: x
`;
    expect(problems(bad)).toHaveLength(5);
  });
});
