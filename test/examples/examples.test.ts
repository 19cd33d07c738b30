import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseHostSpec } from "../../runtime/spec/host-spec.ts";

const names = readdirSync("examples");

describe("examples", () => {
  let folder: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bailiwick-examples-"));
  });

  afterAll(() => rmSync(folder, { recursive: true }));

  it.each(names)("%s synthesises", { timeout: 90_000 }, (name) => {
    const outdir = join(folder, name);
    const env = { ...process.env, CDKTF_OUTDIR: outdir, XDG_CONFIG_HOME: folder };
    execFileSync(process.execPath, ["test/run-typescript.mjs", `examples/${name}/main.ts`], { env, stdio: "pipe" });
    const specs = join(outdir, "stacks", name, "bailiwick");
    const files = readdirSync(specs);
    expect(files.length).toBeGreaterThan(0);
    for (const file of files) parseHostSpec(JSON.parse(readFileSync(join(specs, file), "utf8")));
  });

  it("private-model lets the gateway reach one port of one address, and local-model's server reach nothing", () => {
    const spec = (name: string, host: string) =>
      parseHostSpec(JSON.parse(readFileSync(join(folder, name, "stacks", name, "bailiwick", `${host}.json`), "utf8")));
    const lab = spec("private-model", "lab");
    expect(lab.models.vllm).toMatchObject({ url: "http://10.0.0.5:8000", uid: null, apiKey: null });
    const own = spec("local-model", "own");
    expect(own.models.local).toMatchObject({ url: null, service: { argv: ["node", "./main.mjs", "--port={port}"] } });
    expect([...lab.grants.connect, ...own.grants.connect, ...own.grants.egress]).toEqual([]);
  });

  it("command-agent's daemon is ready, answers, and ends when asked to", async () => {
    const port = 21_000 + Math.floor(Math.random() * 9000);
    const daemon = spawn(process.execPath, ["examples/command-agent/daemon/main.mjs"], {
      env: { PATH: process.env.PATH, BAILIWICK_PORT: String(port), GREETING: "hello" },
    });
    try {
      const url = `http://127.0.0.1:${port}`;
      await expect
        .poll(
          () =>
            fetch(`${url}/healthz`)
              .then((r) => r.status)
              .catch(() => 0),
          { timeout: 10_000 },
        )
        .toBe(200);
      const body = JSON.stringify({ messages: [{ role: "user", content: "are you there?" }] });
      const answer = await fetch(`${url}/v1/chat/completions`, { method: "POST", body });
      expect(await answer.json()).toMatchObject({
        choices: [{ message: { role: "assistant", content: "hello, you said: are you there?" } }],
      });
      const ended = new Promise((done) => daemon.once("exit", done));
      daemon.kill("SIGTERM");
      expect(await ended).toBe(0);
    } finally {
      daemon.kill("SIGKILL");
    }
  });
});
