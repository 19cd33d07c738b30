import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { generateSshKeyPair } from "../../../constructs/openssh-key.ts";
import { freePort } from "../../../runtime/local/port.ts";
import type { SecretSource } from "../../../runtime/policy/secrets/schema.ts";
import { sealCredentials } from "../../../runtime/release/seal.ts";
import { reportCredentials } from "../../../runtime/release/secret-readers.ts";
import { describeSource, resolveSecret } from "../../../runtime/release/secrets.ts";
import { motoMissing, startMoto } from "../../fixtures/moto.ts";
import { cachedSops } from "./cached-sops.ts";
import { sampleSpec } from "./render/sample.ts";

const VALUE = "k3y-6f1c9b-not-to-be-seen";
const before = { ...process.env };

let project = "";
let bin = "";
beforeEach(() => {
  project = realpathSync(mkdtempSync(join(tmpdir(), "bailiwick-secret-tools-")));
  bin = join(project, "bin");
  mkdirSync(bin);
  process.env.PATH = `${bin}${delimiter}${before.PATH}`;
});
afterEach(() => {
  for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
  Object.assign(process.env, before);
  rmSync(project, { recursive: true });
});

const resolved = (source: SecretSource, seconds?: number) => resolveSecret(source, project, seconds);
const text = (value: string | Buffer) => ({ ok: true, value: Buffer.from(value) });
const script = (name: string, body: string) => {
  writeFileSync(join(bin, name), `#!/bin/sh\n${body}\n`);
  chmodSync(join(bin, name), 0o755);
};

const SOURCES = {
  sops: { kind: "sops", path: "keys.yaml", key: ["providers", "anthropic"] },
  op: { kind: "op", reference: "op://team/Anthropic/credential" },
  ssm: { kind: "ssm", name: "/agents/key", region: "eu-central-1" },
  secretsmanager: { kind: "secretsmanager", id: "agents/keys", field: "anthropic" },
} as const satisfies Record<string, SecretSource>;
const PROGRAMS = { sops: "sops", op: "op", ssm: "aws", secretsmanager: "aws" } as const;
const EACH = Object.entries(SOURCES) as [keyof typeof SOURCES, SecretSource][];

describe("a secret that another program keeps", () => {
  beforeEach(() => writeFileSync(join(project, "keys.yaml"), "encrypted"));

  it.each(EACH)("%s: says so when the program is not installed", async (kind, source) => {
    process.env.PATH = bin;
    expect(await resolved(source)).toEqual({
      ok: false,
      reason: `${describeSource(source)}: program ${PROGRAMS[kind]} is not on the PATH here`,
      remedy: expect.stringMatching(/^install /),
    });
  });

  it.each(EACH)("%s: is not waited for longer than its time, nor for what it started", async (kind, source) => {
    script(PROGRAMS[kind], "sleep 30 &\nsleep 30");
    const started = performance.now();
    expect(await resolved(source, 0.2)).toMatchObject({
      reason: expect.stringContaining(`${PROGRAMS[kind]} gave nothing within 0.2 s and was stopped`),
    });
    expect(performance.now() - started).toBeLessThan(5000);
  });

  it.each(EACH)("%s: never has what was printed in its message, whatever else went wrong", async (kind, source) => {
    for (const end of ["exit 3", "kill -9 $$", "echo 'something new' >&2; exit 1", "exit 0"]) {
      script(PROGRAMS[kind], `echo '{"x": "${VALUE}"'\n${end}`);
      const found = await resolved(source);
      if (!found.ok) expect(JSON.stringify(found), end).not.toContain(VALUE);
    }
    script(PROGRAMS[kind], "echo 'an old warning' >&2\necho 'something new' >&2\nexit 7");
    expect(await resolved(source)).toMatchObject({
      reason: `${describeSource(source)}: ${PROGRAMS[kind]} ended with exit code 7: something new`,
    });
  });

  it("is asked for by its reference alone: no argument is split, none is an option", async () => {
    script("sops", 'printf "%s\\n" "$@"');
    const args = async (source: SecretSource) => {
      const found = await resolved(source);
      return found.ok ? found.value.toString().split("\n") : found;
    };
    writeFileSync(join(project, "-o x.yaml"), "");
    expect(await args({ kind: "sops", path: "-o x.yaml", key: ["a b", 0, 'say "x"'] })).toEqual([
      "decrypt",
      "--extract",
      '["a b"][0]["say "x""]',
      join(project, "-o x.yaml"),
    ]);
  });

  it("of a file that is not there is said as any file is", async () => {
    rmSync(join(project, "keys.yaml"));
    expect(await resolved(SOURCES.sops)).toEqual({
      ok: false,
      reason: `file ${join(project, "keys.yaml")} could not be read: ENOENT`,
    });
  });
});

describe("a secret that cannot be had", () => {
  const spec = sampleSpec((s) => {
    for (const secret of Object.values(s.secrets)) secret.source = SOURCES.op;
  });
  beforeEach(() => {
    process.env.PATH = bin;
  });

  it("is named with where it is kept and what to do, by a push before it sends any, and by a check", async () => {
    const name = Object.keys(spec.secrets)[0] ?? "";
    const reason = `${describeSource(SOURCES.op)}: program op is not on the PATH here`;
    const seal = sealCredentials({} as never, spec, { credentials: {} }, { project, progress: () => {} });
    await expect(seal).rejects.toThrow(
      `secrets.${name}: ${reason}, and the host does not have it yet; install the 1Password CLI`,
    );
    const report = (await reportCredentials(spec, project)).find((one) => one.name === `secret.${name}`);
    expect(report).toMatchObject({
      source: describeSource(SOURCES.op),
      here: { ok: false, reason: `${reason}; install the 1Password CLI` },
    });
  });
});

describe("what Secrets Manager answers", () => {
  const managed = (answer: object, field?: string) => {
    script("aws", `cat ${join(project, "answer")}`);
    writeFileSync(join(project, "answer"), JSON.stringify(answer));
    return resolved({ kind: "secretsmanager", id: "agents/keys", ...(field === undefined ? {} : { field }) });
  };
  const object = { SecretString: JSON.stringify({ anthropic: VALUE, count: 3, empty: "" }) };

  it("is a whole secret, a field of an object, or bytes", async () => {
    expect(await managed(object, "anthropic")).toEqual(text(VALUE));
    expect(await managed(object)).toEqual(text(object.SecretString));
    expect(await managed({ SecretBinary: "AP8K" })).toEqual(text(Buffer.from([0, 255])));
  });

  it.each([
    [object, "nothing", ": there is no text at nothing of it"],
    [object, "count", ": there is no text at count of it"],
    [object, "toString", ": there is no text at toString of it"],
    [object, "empty", " is empty"],
    [{ SecretString: VALUE }, "x", ": it is no JSON object, and has no fields"],
    [{ SecretString: '"text"' }, "length", ": there is no text at length of it"],
    [{ SecretBinary: "AP8K" }, "x", ": it is binary, and has no fields"],
    [{}, undefined, ": there is no text at SecretString of it"],
  ])("has no value in it: %j, field %s", async (answer, field, reason) => {
    const what = `${field === undefined ? "" : `${field} of `}Secrets Manager secret agents/keys`;
    expect(await managed(answer, field)).toMatchObject({ ok: false, reason: `${what}${reason}` });
  });
});

describe("1Password, by a stand-in that keeps an account", () => {
  const op = (...args: string[]) => spawnSync("op", args, { encoding: "utf8" });
  beforeEach(() => {
    process.env.OP_STAND_IN = join(project, "account.json");
    const vaults = { team: { Anthropic: { credential: VALUE, "admin/key": "k3y-of-admin", empty: "" } } };
    writeFileSync(process.env.OP_STAND_IN, JSON.stringify({ signedIn: false, vaults }));
    copyFileSync(resolve(import.meta.dirname, "one-password-stand-in.mjs"), join(bin, "op"));
  });

  it("gives a field once signed in, and its new value once it was changed", async () => {
    expect(await resolved(SOURCES.op)).toEqual({
      ok: false,
      reason: "1Password op://team/Anthropic/credential: the 1Password CLI is not signed in here",
      remedy: "run `op signin`, or set OP_SERVICE_ACCOUNT_TOKEN",
    });
    op("signin");
    expect(await resolved(SOURCES.op)).toEqual(text(VALUE));
    expect(await resolved({ kind: "op", reference: "op://team/Anthropic/admin/key" })).toEqual(text("k3y-of-admin"));
    op("item", "edit", "Anthropic", "--vault", "team", "credential=k3y-of-tomorrow");
    expect(await resolved(SOURCES.op)).toEqual(text("k3y-of-tomorrow"));
    op("signout");
    process.env.OP_SERVICE_ACCOUNT_TOKEN = "token";
    expect(await resolved(SOURCES.op)).toEqual(text("k3y-of-tomorrow"));
  });

  it.each([
    ["op://team/Anthropic/nothing", "the item has no such field"],
    ["op://team/Nothing/credential", "there is no such item or vault, or your account does not see it"],
    ["op://nobody/Anthropic/credential", "there is no such item or vault, or your account does not see it"],
  ])("says what is not there: %s", async (reference, reason) => {
    op("signin");
    expect(await resolved({ kind: "op", reference })).toMatchObject({ reason: `1Password ${reference}: ${reason}` });
  });

  it("does not take an empty field", async () => {
    op("signin");
    const reference = "op://team/Anthropic/empty";
    expect(await resolved({ kind: "op", reference })).toEqual({ ok: false, reason: `1Password ${reference} is empty` });
  });
});

const sops = existsSync(cachedSops) ? cachedSops : spawnSync("sops", ["--version"]).status === 0 ? "sops" : undefined;
if (sops === undefined) console.log("not run: secrets by the real sops: it is not here; npm run sops builds it (Go)");

describe.skipIf(sops === undefined)("sops, the real one, with age and keys of SSH", () => {
  const keys = { own: generateSshKeyPair("own"), stranger: generateSshKeyPair("stranger") };
  const decryptAs = (who: keyof typeof keys) => {
    process.env.SOPS_AGE_SSH_PRIVATE_KEY_FILE = join(project, who);
    writeFileSync(join(project, who), keys[who].privateKey, { mode: 0o600 });
  };
  const file = (key: (string | number)[], path = "keys.yaml") => resolved({ kind: "sops", path, key });
  const encrypt = (path: string, content: string) => {
    writeFileSync(join(project, path), content);
    const done = spawnSync(sops ?? "", ["encrypt", "--in-place", "--age", keys.own.publicKey, join(project, path)]);
    if (done.status !== 0) throw new Error(String(done.stderr));
  };
  beforeEach(() => {
    if (sops === cachedSops) process.env.PATH = `${resolve(cachedSops, "..")}${delimiter}${process.env.PATH}`;
    decryptAs("own");
    const yaml = `providers:\n  anthropic: ${VALUE}\n  empty: ""\nlist: [first, second]\npem: |\n  line one\n  line two\n`;
    encrypt("keys.yaml", yaml);
    encrypt("keys.env", `KEY=${VALUE}\n`);
    encrypt("keys.json", JSON.stringify({ deep: { key: VALUE } }));
    encrypt("token.bin", `${VALUE}\n`);
    expect(readFileSync(join(project, "keys.yaml"), "utf8")).not.toContain(VALUE);
  });

  it("gives a value of each kind of file", async () => {
    expect(await file(["providers", "anthropic"])).toEqual(text(VALUE));
    expect(await file(["list", 1])).toEqual(text("second"));
    expect(await file(["pem"])).toEqual(text("line one\nline two"));
    expect(await file(["KEY"], "keys.env")).toEqual(text(VALUE));
    expect(await file(["deep", "key"], "keys.json")).toEqual(text(VALUE));
    expect(await file(["data"], "token.bin")).toEqual(text(VALUE));
  });

  it("leaves nothing of it on the disk but what is encrypted", async () => {
    process.env.TMPDIR = join(project, "tmp");
    mkdirSync(process.env.TMPDIR);
    expect(await file(["providers", "anthropic"])).toEqual(text(VALUE));
    expect(spawnSync("grep", ["-rl", VALUE, project], { encoding: "utf8" }).stdout).toBe("");
  });

  it.each([
    [["providers", "nothing"], "there is no such key in it"],
    [["providers", "anthropic", "deeper"], "there is no such key in it"],
    [["list", 7], "there is no such key in it"],
  ])("says what is not there: %j", async (key, reason) => {
    const what = `${key.join(".")} of sops file keys.yaml`;
    expect(await file(key)).toMatchObject({ ok: false, reason: `${what}: ${reason}` });
  });

  it("says what keeps it from decrypting, and does not take what is empty", async () => {
    const what = "providers.anthropic of sops file keys.yaml";
    decryptAs("stranger");
    expect(await file(["providers", "anthropic"])).toMatchObject({ reason: `${what}: none of your keys decrypts it` });
    decryptAs("own");
    expect(await file(["providers", "empty"])).toMatchObject({
      reason: "providers.empty of sops file keys.yaml is empty",
    });
    const path = join(project, "keys.yaml");
    const whole = readFileSync(path, "utf8");
    writeFileSync(path, whole.replace(/^list:\n(.*\n)+?(?=pem)/m, ""));
    expect(await file(["providers", "anthropic"])).toMatchObject({
      reason: `${what}: it was changed by something else than sops (MAC mismatch)`,
    });
    writeFileSync(path, `providers:\n  anthropic: ${VALUE}\n`);
    expect(await file(["providers", "anthropic"])).toMatchObject({ reason: `${what}: it is not encrypted by sops` });
  });
});

const noAws = spawnSync("aws", ["--version"]).status !== 0 ? "the AWS CLI is not on the PATH" : motoMissing();
if (noAws !== undefined) console.log(`not run: secrets in AWS: ${noAws}`);

// each start of the CLI takes a second or, on a busy machine, many
describe.skipIf(noAws !== undefined)("AWS, by the real CLI against moto's server", { timeout: 120_000 }, () => {
  let server: Awaited<ReturnType<typeof startMoto>>;
  let url = "";
  const environment = () => ({
    AWS_ACCESS_KEY_ID: "test",
    AWS_SECRET_ACCESS_KEY: "test",
    AWS_DEFAULT_REGION: "eu-central-1",
    AWS_ENDPOINT_URL: url,
    // nothing of the machine's own: no profile, and no questions to an address that clouds answer at
    AWS_CONFIG_FILE: "/dev/null",
    AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
    AWS_EC2_METADATA_DISABLED: "true",
    AWS_MAX_ATTEMPTS: "1",
  });
  const put = (target: string, body: object) =>
    fetch(url, {
      method: "POST",
      headers: {
        "x-amz-target": target,
        "content-type": "application/x-amz-json-1.1",
        authorization: `AWS4-HMAC-SHA256 Credential=test/20260101/eu-central-1/${target.startsWith("AmazonSSM") ? "ssm" : "secretsmanager"}/aws4_request, SignedHeaders=host, Signature=00`,
      },
      body: JSON.stringify(body),
    }).then(async (answer) => {
      if (!answer.ok) throw new Error(await answer.text());
    });

  beforeAll(async () => {
    server = await startMoto();
    url = server.url;
    const parameter = (Name: string, Value: string) =>
      put("AmazonSSM.PutParameter", { Name, Value, Type: "SecureString" });
    const secret = (Name: string, more: object) =>
      put("secretsmanager.CreateSecret", { Name, ClientRequestToken: crypto.randomUUID(), ...more });
    await parameter("/agents/key", VALUE);
    await secret("agents/keys", { SecretString: JSON.stringify({ anthropic: VALUE, count: 3, empty: "" }) });
    await secret("agents/plain", { SecretString: `${VALUE}\n` });
    await secret("agents/bytes", { SecretBinary: Buffer.from([0, 255, 10, 1]).toString("base64") });
  });
  afterAll(() => server?.stop());
  beforeEach(() => Object.assign(process.env, environment()));

  const managed = (id: string, field?: string) =>
    resolved({ kind: "secretsmanager", id, ...(field === undefined ? {} : { field }) });

  it("gives a parameter, a secret and a field of one", async () => {
    expect(await resolved(SOURCES.ssm)).toEqual(text(VALUE));
    expect(await managed("agents/keys", "anthropic")).toEqual(text(VALUE));
    expect(await managed("agents/plain")).toEqual(text(VALUE));
    expect(await managed("agents/bytes")).toEqual(text(Buffer.from([0, 255, 10, 1])));
  });

  it("says what is not there", async () => {
    const none = "there is none of that name in that account and region";
    expect(await resolved({ kind: "ssm", name: "/agents/nothing" })).toMatchObject({
      reason: `SSM parameter /agents/nothing: ${none}`,
    });
    expect(await managed("agents/nothing")).toMatchObject({
      reason: `Secrets Manager secret agents/nothing: ${none}`,
    });
  });

  it("says what the CLI lacks: credentials, a region, a way to AWS", async () => {
    const reason = (what: string) => ({ ok: false, reason: expect.stringContaining(what), remedy: expect.anything() });
    delete process.env.AWS_ACCESS_KEY_ID;
    delete process.env.AWS_SECRET_ACCESS_KEY;
    expect(await resolved(SOURCES.ssm)).toEqual(reason("the AWS CLI has no valid credentials here"));
    Object.assign(process.env, environment());
    delete process.env.AWS_DEFAULT_REGION;
    expect(await managed("agents/plain")).toEqual(reason("the AWS CLI knows no region"));
    Object.assign(process.env, environment(), { AWS_ENDPOINT_URL: `http://127.0.0.1:${await freePort()}` });
    expect(await managed("agents/plain")).toEqual(reason("AWS is not reached from here"));
  });
});
