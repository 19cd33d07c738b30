import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { App, TerraformStack } from "cdktf";
import { describe, expect, it } from "vitest";
import { bailiwickCommand, terraformLiteral } from "../../constructs/command-line.ts";
import { temporaryFolder } from "./synthesised.ts";

const printed = (text: string) => text.replaceAll("$${", () => `\${`).replaceAll("%%{", "%{");

describe("a command line", () => {
  it("runs the kit's own command by a path relative to the stack's folder", () => {
    const outdir = join(temporaryFolder(), "cdktf.out");
    const stack = new TerraformStack(new App({ outdir }), "box");
    const [, path = ""] = bailiwickCommand(stack, ["local", "image"]).split(" ");
    expect(join(outdir, "stacks", "box", path)).toBe(join(process.cwd(), "bin", "bailiwick.mjs"));
  });

  it("passes every word as one, whatever is in it, through Terraform and the shell", () => {
    const words = [
      "plain",
      "two words",
      "it's",
      "$HOME",
      `\${file}`,
      "%{if}",
      "`id`",
      "a;b",
      "",
      "new\nline",
      '"',
      "\\",
    ];
    const context = { "bailiwick:command": `/it's a path/\${x}/command.mjs` };
    const stack = new TerraformStack(new App({ outdir: temporaryFolder(), context }), "box");
    const line = bailiwickCommand(stack, words);
    expect(line).not.toMatch(/(?<!\$)\$\{|(?<!%)%\{/);
    const shown = execFileSync("sh", ["-c", `node() { for w; do printf '%s\\0' "$w"; done; }; ${printed(line)}`]);
    const [command, ...rest] = shown.toString().split("\0").slice(0, -1);
    expect(command).toMatch(/it's a path\/\$\{x\}\/command\.mjs$/);
    expect(rest).toEqual(words);
  });

  it("escapes what Terraform would interpolate, and nothing else", () => {
    expect(terraformLiteral(`\${a} %{b} $a %b {c} \\n`)).toBe(`$\${a} %%{b} $a %b {c} \\n`);
  });
});
