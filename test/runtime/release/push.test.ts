import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { NO_BUDGET, NO_LIMITS } from "../../../runtime/policy/models/schema.ts";
import { Activator, HostError } from "../../../runtime/release/activator-client.ts";
import { UnhealthyError } from "../../../runtime/release/confirm.ts";
import { MissingSecretsError, sealCredentials } from "../../../runtime/release/seal.ts";
import { sha256 } from "../../../runtime/spec/digest.ts";
import { connect } from "../../../runtime/ssh/connect.ts";
import type { Connection } from "../../../runtime/ssh/connection.ts";
import { type LoopbackSshd, sshdMissing, startSshd, username } from "../ssh/loopback-sshd.ts";
import { makeKey } from "../ssh/test-keys.ts";
import { sampleSpec } from "./render/sample.ts";

const VALUE = "sk-6f1c9b-not-to-be-seen";
const ANTHROPIC = "BAILIWICK_TEST_ANTHROPIC";
const IDLE = "BAILIWICK_TEST_IDLE";
const version = (of: string) => sha256(of).slice(0, 32);

// two providers that agents may call, so two secrets that a push needs
const spec = sampleSpec((s) => {
  s.secrets["anthropic-key"] = { source: { kind: "env", variable: ANTHROPIC } };
  s.secrets.unused = { source: { kind: "env", variable: IDLE } };
  s.grants.invoke.push({ agent: "ops", model: "idle", models: ["idle-1"], budget: NO_BUDGET, limits: NO_LIMITS });
});
const GENERATED = ["agent.ops.gateway-token", "agent.ops.virtual-key", "agent.web-hook.virtual-key"];

// The activator is on the host: here a real sshd answers each of its verbs with what the host would, and keeps what it was sent.
describe.skipIf(sshdMissing)("secrets of a push", () => {
  let dir: string;
  let server: LoopbackSshd;
  let connection: Connection;
  let activator: Activator;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "bailiwick-push-"));
    const [host, ada] = [makeKey(dir, "host"), makeKey(dir, "ada")];
    const extra = [`ForceCommand cat >${dir}/received; cat ${dir}/answer`];
    server = await startSshd({ directory: dir, hostKey: host.path, authorized: [ada.publicKey], extra });
    connection = await connect({
      host: "127.0.0.1",
      port: server.port,
      username,
      identity: ada.identity,
      trust: { kind: "pinned", hostKey: host.publicKey },
    });
    activator = new Activator(connection, "a".repeat(64), "b".repeat(64));
  });
  afterAll(async () => {
    await connection?.close();
    await server?.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  beforeEach(() => {
    rmSync(join(dir, "received"), { force: true });
    rmSync(join(dir, "answer"), { force: true });
  });
  afterEach(() => {
    delete process.env[ANTHROPIC];
    delete process.env[IDLE];
  });

  const seal = (onHost: Record<string, string>, progress: (line: string) => void = () => {}) =>
    sealCredentials(activator, spec, { credentials: onHost }, { project: dir, progress });
  const answer = (set: readonly string[]) => {
    const all = [...set, ...GENERATED];
    const versions = Object.fromEntries(all.map((name) => [name, version(name)]));
    const generated = Object.fromEntries(
      GENERATED.map((name) => [name, { version: version(name), sha256: sha256(name) }]),
    );
    writeFileSync(join(dir, "answer"), JSON.stringify({ versions, generated }));
  };

  it("that are at hand are sent, and the host keeps what it has of the others", async () => {
    process.env[ANTHROPIC] = VALUE;
    const kept = version("kept on the host");
    answer(["secret.anthropic-key"]);
    const lines: string[] = [];
    const result = await seal({ "secret.unused": kept }, (line) => lines.push(line));
    expect(JSON.parse(readFileSync(join(dir, "received"), "utf8"))).toEqual({
      set: { "secret.anthropic-key": Buffer.from(VALUE).toString("base64") },
      generate: GENERATED,
    });
    expect(result.credentials).toMatchObject({
      "secret.unused": kept,
      "secret.anthropic-key": version("secret.anthropic-key"),
    });
    expect(result.sealed).toEqual(["secret.anthropic-key", ...GENERATED]);
    expect(JSON.stringify([result, lines])).not.toContain(VALUE);
  });

  it("that the host has already in that version are not said to be sealed anew", async () => {
    process.env[ANTHROPIC] = VALUE;
    process.env[IDLE] = VALUE;
    const names = ["secret.anthropic-key", "secret.unused"];
    answer(names);
    const known = Object.fromEntries([...names, ...GENERATED].map((name) => [name, version(name)]));
    const lines: string[] = [];
    expect((await seal(known, (line) => lines.push(line))).sealed).toEqual([]);
    expect(lines).toEqual([]);
  });

  it("that are nowhere are all named at once, with their paths and what to do, before anything is sent", async () => {
    const missing = seal({});
    await expect(missing).rejects.toBeInstanceOf(MissingSecretsError);
    await expect(missing).rejects.toThrow(
      [
        `secrets.anthropic-key: environment variable ${ANTHROPIC} is not set, and the host does not have it yet`,
        `secrets.unused: environment variable ${IDLE} is not set, and the host does not have it yet`,
        "set what is missing and push again; nothing was changed",
      ].join("\n"),
    );
    expect(existsSync(join(dir, "received"))).toBe(false);
  });

  it("that are at hand are not sent, nor told, while another is missing", async () => {
    process.env[ANTHROPIC] = VALUE;
    const told = await seal({}).catch((error: Error) => `${error.message}\n${error.stack}`);
    expect(told).toContain("secrets.unused: ");
    expect(told).not.toContain("secrets.anthropic-key");
    expect(told).not.toContain(VALUE);
    expect(existsSync(join(dir, "received"))).toBe(false);
  });

  it("are not told either when the host fails to seal them", async () => {
    process.env[ANTHROPIC] = VALUE;
    process.env[IDLE] = VALUE;
    // no answer: the host's command fails
    const error = await seal({}).catch((thrown: Error) => thrown);
    expect(error).toBeInstanceOf(HostError);
    expect(readFileSync(join(dir, "received"), "utf8")).toContain(Buffer.from(VALUE).toString("base64"));
    const told = JSON.stringify(error, Object.getOwnPropertyNames(error));
    expect(told).not.toContain(VALUE);
    expect(told).not.toContain(Buffer.from(VALUE).toString("base64"));
  });
});

describe("a release that did not become healthy", () => {
  const answer = {
    release: "c".repeat(64),
    previous: "d".repeat(64),
    healthy: false,
    confirm: false,
    restarted: [],
    reloaded: [],
    stopped: [],
    problems: ["bailiwick-agent-ops: no answer at /healthz", "bailiwick-gateway: exit code 1"],
    ms: 1,
  };

  it("is told with every problem, and with what serves instead", () => {
    const { message } = new UnhealthyError(answer);
    expect(message.split("\n")).toEqual([
      "the new release did not become healthy and was undone; release dddddddddddd serves again",
      ...answer.problems,
    ]);
  });

  it("leaves the host closed when it was the first", () => {
    expect(new UnhealthyError({ ...answer, previous: null }).message).toMatch(
      /undone; there was none before, the host is closed\n/,
    );
  });
});
