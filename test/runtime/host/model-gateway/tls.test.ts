import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { ask, chat } from "./client.ts";
import { configFor, PROVIDER_KEY, startGateway } from "./program.ts";
import { OPENAI_ANSWER, startUpstream } from "./test-upstream.ts";

const folder = mkdtempSync(join(tmpdir(), "bailiwick-gateway-tls-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string) => join(folder, name);
const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: folder, stdio: "pipe" });

/** A CA of this test run, and a certificate by it for one name. */
function certificate(ca: string, name: string, days = "1") {
  openssl(
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-days",
    "1",
    "-subj",
    `/CN=${ca}`,
    "-keyout",
    `${ca}.key`,
    "-out",
    `${ca}.pem`,
  );
  openssl(
    "req",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-subj",
    `/CN=${name}`,
    "-keyout",
    `${ca}-leaf.key`,
    "-out",
    `${ca}-leaf.csr`,
  );
  writeFileSync(file(`${ca}.ext`), `subjectAltName=DNS:${name}\n`);
  openssl(
    "x509",
    "-req",
    "-in",
    `${ca}-leaf.csr`,
    "-CA",
    `${ca}.pem`,
    "-CAkey",
    `${ca}.key`,
    "-CAcreateserial",
    "-days",
    days,
    "-extfile",
    `${ca}.ext`,
    "-out",
    `${ca}-leaf.pem`,
  );
  return {
    ca: file(`${ca}.pem`),
    key: readFileSync(file(`${ca}-leaf.key`), "utf8"),
    cert: readFileSync(file(`${ca}-leaf.pem`), "utf8"),
  };
}

const good = certificate("good", "localhost");
const other = certificate("other", "elsewhere.example.com");
const upstream = await startUpstream(good);
const misnamed = await startUpstream(other);
const path = "/gpt/v1/chat/completions";

describe("a provider over TLS", () => {
  it("is reached when its certificate is by a CA of NODE_EXTRA_CA_CERTS", async () => {
    const gateway = await startGateway(configFor(upstream.url), { env: { NODE_EXTRA_CA_CERTS: good.ca } });
    const answer = await ask(gateway.port, { path, body: chat() });
    expect(answer.status).toBe(200);
    expect(answer.body.equals(OPENAI_ANSWER)).toBe(true);
    expect(upstream.received.at(-1)?.headers.authorization).toBe(`Bearer ${PROVIDER_KEY}`);
  });

  it("is reached when its certificate is by a CA of the system, with --use-system-ca", async () => {
    const env = { SSL_CERT_FILE: good.ca };
    const gateway = await startGateway(configFor(upstream.url), { env, nodeArgs: ["--use-system-ca"] });
    expect((await ask(gateway.port, { path, body: chat() })).status).toBe(200);
  });

  it.each([
    ["by an unknown CA", upstream, {}],
    ["by another CA", upstream, { NODE_EXTRA_CA_CERTS: other.ca }],
    ["for another name", misnamed, { NODE_EXTRA_CA_CERTS: other.ca }],
  ])("whose certificate is %s is told nothing", async (_, provider, env) => {
    const gateway = await startGateway(configFor(provider.url), { env });
    const before = provider.received.length;
    const answer = await ask(gateway.port, { path, body: chat() });
    expect([answer.status, answer.json().error.code]).toEqual([502, "upstream_unreachable"]);
    expect(answer.json().error.message).toMatch(/UNABLE_TO_VERIFY_LEAF_SIGNATURE|ERR_TLS_CERT_ALTNAME_INVALID/);
    expect(provider.received).toHaveLength(before);
  });
});
