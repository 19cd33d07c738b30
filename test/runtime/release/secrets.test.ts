import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { describeSource, resolveSecret } from "../../../runtime/release/secrets.ts";

const VALUE = "sk-6f1c9b-not-to-be-seen";
const VARIABLE = "BAILIWICK_TEST_SECRET";

let project = "";
beforeEach(() => {
  project = realpathSync(mkdtempSync(join(tmpdir(), "bailiwick-secrets-")));
});
afterEach(() => {
  delete process.env[VARIABLE];
  rmSync(project, { recursive: true });
});

const env = () => resolveSecret({ kind: "env", variable: VARIABLE }, project);
const file = (path: string) => resolveSecret({ kind: "file", path }, project);
const command = (...argv: string[]) => resolveSecret({ kind: "command", argv }, project);
const node = (script: string) => command(process.execPath, "-e", script);
const text = (value: string | Buffer) => ({ ok: true, value: Buffer.from(value) });

describe("a secret", () => {
  it("of the environment is its variable's value, byte for byte", async () => {
    process.env[VARIABLE] = `  ${VALUE} ü`;
    expect(await env()).toEqual(text(`  ${VALUE} ü`));
  });

  it("of a file is found from the project's folder, and need not be text", async () => {
    const bytes = Buffer.from([0, 255, 10, 13, 254]);
    mkdirSync(join(project, "keys"));
    writeFileSync(join(project, "keys/api"), bytes);
    expect(await file("keys/api")).toEqual(text(bytes));
    expect(await file(join(project, "keys/api"))).toEqual(text(bytes));
  });

  it("of a command is what it prints, run in the project's folder without a shell", async () => {
    expect(await node("process.stdout.write(process.cwd())")).toEqual(text(project));
    expect(await command(process.execPath, "-p", "process.argv[1]", "$HOME; echo 'x'")).toEqual(
      text("$HOME; echo 'x'"),
    );
  });

  it("loses the one newline that editors and programs add, and no other", async () => {
    writeFileSync(join(project, "key"), `${VALUE}\n\n`);
    expect(await file("key")).toEqual(text(`${VALUE}\n`));
    expect(await node(`console.log("${VALUE}")`)).toEqual(text(VALUE));
  });
});

describe("a secret that is not to be had", () => {
  it("says which variable to set", async () => {
    expect(await env()).toEqual({ ok: false, reason: `environment variable ${VARIABLE} is not set` });
  });

  it("says which file it looked for, in full, and why it was not read", async () => {
    expect(await file("keys/api")).toEqual({
      ok: false,
      reason: `file ${join(project, "keys/api")} could not be read: ENOENT`,
    });
    expect(await file(".")).toEqual({ ok: false, reason: `file ${project} could not be read: EISDIR` });
  });

  it("looks for ~/ in the operator's home, not in a folder of that name", async () => {
    mkdirSync(join(project, "~"));
    writeFileSync(join(project, "~/bailiwick-test-no-such-key"), VALUE);
    expect(await file("~/bailiwick-test-no-such-key")).toMatchObject({ ok: false });
  });

  it("is one that is empty, or nothing but a newline", async () => {
    process.env[VARIABLE] = "";
    writeFileSync(join(project, "key"), "\n");
    expect(await env()).toEqual({ ok: false, reason: `environment variable ${VARIABLE} is empty` });
    expect(await file("key")).toEqual({ ok: false, reason: "file key is empty" });
    expect(await node("")).toEqual({ ok: false, reason: `command ${process.execPath} is empty` });
  });

  it("is one whose command failed, was killed, or is not there, whatever it had printed by then", async () => {
    const failed = (reason: string) => ({ ok: false, reason: `command ${reason}` });
    expect(await node(`console.log("${VALUE}"); process.exitCode = 3`)).toEqual(
      failed(`${process.execPath} ended with exit code 3`),
    );
    expect(await node(`console.log("${VALUE}"); process.kill(process.pid, "SIGKILL")`)).toEqual(
      failed(`${process.execPath} ended with SIGKILL`),
    );
    expect(await command("bailiwick-no-such-program", VALUE)).toEqual(
      failed("bailiwick-no-such-program could not be run: ENOENT"),
    );
  });
});

describe("what a reference refers to", () => {
  it("is told without a command's arguments, which may be as secret as what it prints", () => {
    expect(describeSource({ kind: "command", argv: ["pass", "show", VALUE] })).toBe("command pass");
    expect(describeSource({ kind: "env", variable: VARIABLE })).toBe(`environment variable ${VARIABLE}`);
    expect(describeSource({ kind: "file", path: "~/key" })).toBe("file ~/key");
  });
});
