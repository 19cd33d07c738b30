import { execFile, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { sampleSpec } from "../release/render/sample.ts";
import { makeKey } from "../ssh/test-keys.ts";

// The real command, as a child process in a project's folder: what it prints where, and how it ends.

const COMMAND = resolve("bin/bailiwick.mjs");
const INSTANCE = "11111111-0000-4000-8000-000000000000";
const SLOT = "0a1b2c3d-0000-4000-8000-000000000000";
const terraformMissing = spawnSync("terraform", ["version"]).error !== undefined;
if (terraformMissing) console.log("not run: what is not deployed: terraform is not on the PATH");

let root: string;

function write(path: string, content: unknown) {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), JSON.stringify(content));
}

interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

function bailiwick(...args: string[]): Promise<Ran> {
  const { SSH_AUTH_SOCK: _, ...inherited } = process.env;
  const env = { ...inherited, BAILIWICK_STATE: join(root, "state"), BAILIWICK_SSH_KEY: join(root, "ada") };
  return new Promise((done) => {
    execFile(process.execPath, [COMMAND, ...args], { cwd: root, env }, (error, stdout, stderr) => {
      done({ code: error === null ? 0 : typeof error.code === "number" ? error.code : -1, stdout, stderr });
    });
  });
}

/** The one document on stdout, with nothing beside it on either. */
function document({ stdout, stderr }: Ran): unknown {
  expect(stderr).toBe("");
  expect(stdout.split("\n")).toHaveLength(2);
  return JSON.parse(stdout);
}

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "bailiwick-cli-"));
  const { publicKey } = makeKey(root, "ada");
  const spec = (name: string) =>
    sampleSpec((s) => {
      s.name = name;
      s.access.admins = { ada: { uid: 1000, publicKey } };
    });
  write("cdktf.json", {});
  for (const name of ["ops", "web"]) {
    const stack = `cdktf.out/stacks/${name}`;
    const backend = { local: { path: join(root, `${name}.tfstate`) } };
    write(`${stack}/cdk.tf.json`, { terraform: { backend } });
    write(`${stack}/bailiwick/${name}.json`, spec(name));
  }
  // `web` is deployed, as far as Terraform knows
  const bindings = {
    machine: { kind: "local", slot: SLOT, instance: INSTANCE },
    bootstrap: { publicKey, claimedBy: INSTANCE },
    values: {},
  };
  const type = ["object", { machine: ["map", "string"], bootstrap: ["map", "string"], values: ["map", "string"] }];
  write("web.tfstate", { version: 4, serial: 1, lineage: SLOT, outputs: { bailiwick_web: { value: bindings, type } } });
});
afterAll(() => rmSync(root, { recursive: true }));

describe("bailiwick", () => {
  it("says how it is used when it is given no command, which is no success", async () => {
    const ran = await bailiwick();
    expect(ran).toMatchObject({ code: 2, stderr: "" });
    expect(ran.stdout).toMatch(/^ {2}verify <host> \[--only <text>\] \[--allow-unprovable\] \[--json\] {2}/m);
  });

  // a name that every JavaScript object has is no command either
  it("refuses a command that there is not, naming those there are", async () => {
    expect(await bailiwick("constructor")).toEqual({
      code: 2,
      stdout: "",
      stderr: expect.stringMatching(
        /^bailiwick constructor: received command "constructor"; there are push, ask, verify, .*machine\n$/,
      ),
    });
  });

  it("refuses a verb of local that there is not", async () => {
    const ran = await bailiwick("local", "constructor");
    expect(ran).toMatchObject({ code: 2, stdout: "" });
    expect(ran.stderr).toMatch(/^bailiwick local: received "local constructor"; there are .*local stop, local start/);
  });

  it.each([
    [["machine", "constructor", "ops"], 'received "machine constructor"; there is machine adopt'],
    [["machine", "leave", "ops"], "machine leave is a step of `npx cdktf destroy`, which is what to call"],
    [["machine", "adopt", "ops"], 'host "ops" runs on a machine of kind local, which is not an existing one'],
    [["machine", "adopt", "ops", "--from-terraform"], "needs the environment variable BAILIWICK_MACHINE"],
  ])("refuses %j", async (args, problem) => {
    const ran = await bailiwick(...args);
    expect(ran).toMatchObject({ code: 2, stdout: "" });
    expect(ran.stderr).toContain(problem);
  });

  it("refuses an unknown option with the verb's usage", async () => {
    const ran = await bailiwick("verify", "ops", "--allow-broken");
    expect(ran).toMatchObject({ code: 2, stdout: "" });
    expect(ran.stderr).toMatch(/^bailiwick verify: unknown option '--allow-broken'/);
    expect(ran.stderr).toMatch(
      /\nusage: bailiwick verify <host> \[--only <text>\] \[--allow-unprovable\] \[--json\]\n$/,
    );
  });

  it("puts a usage error into one document with --json", async () => {
    const ran = await bailiwick("verify", "--json");
    expect(ran.code).toBe(2);
    expect(document(ran)).toEqual({
      error: { kind: "usage", message: expect.stringMatching(/^received 0 arguments\nusage: bailiwick verify/) },
    });
  });

  it.each([
    ["is not there", undefined, "not found"],
    ["is too old", "Terraform v1.4.6", "Terraform v1.4.6"],
    ["is of 1.5", "Terraform v1.5.0", null],
    ["is OpenTofu", "OpenTofu v1.10.2", null],
  ])("says by doctor what to do when Terraform %s", async (_, says, found) => {
    const program = join(root, "its-terraform");
    rmSync(program, { force: true });
    if (says !== undefined) writeFileSync(program, `#!/bin/sh\necho ${says}\n`, { mode: 0o755 });
    vi.stubEnv("TERRAFORM_BINARY_NAME", program);
    const ran = await bailiwick("doctor", "--json");
    vi.unstubAllEnvs();
    const { checks } = JSON.parse(ran.stdout) as { checks: { id: string; ok: boolean; found: string; fix: string }[] };
    const check = checks.find(({ id }) => id === "terraform");
    if (found === null) expect(check).toMatchObject({ ok: true, fix: null });
    else {
      expect(check).toMatchObject({ ok: false, found, fix: expect.stringMatching(/^install Terraform 1\.5 or later/) });
      expect(ran.code).toBe(1);
    }
  });

  it("names the hosts there are when it is given another", async () => {
    expect(await bailiwick("verify", "opps")).toEqual({
      code: 2,
      stdout: "",
      stderr:
        'bailiwick verify: received host "opps"; this project has "ops", "web" (if it is new, run `npx cdktf synth`)\n',
    });
  });
});

describe.skipIf(terraformMissing)("bailiwick, of what Terraform knows", () => {
  it("says how to deploy a host that is not", async () => {
    const ran = await bailiwick("status", "ops", "--json");
    expect(ran.code).toBe(2);
    expect(document(ran)).toEqual({
      error: {
        kind: "usage",
        message: 'host "ops" is not deployed: its stack has no output bailiwick_ops; run `npx cdktf deploy ops`',
      },
    });
  });

  it("says that a deployed host is not here with another exit code than for wrong usage", async () => {
    const ran = await bailiwick("verify", "web", "--json");
    expect(ran.code).toBe(3);
    expect(document(ran)).toEqual({
      error: {
        kind: "unreachable",
        message: `web: its local machine is not on this computer (slot ${SLOT}); run cdktf deploy`,
      },
    });
  });
});
