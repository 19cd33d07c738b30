import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ok, Project } from "./support/project.ts";

// A model server of the operator's own on a real host, called by an agent that does what it is told. One at a private
// address is called in egress.test.ts.

const missing = process.getuid?.() === 0 ? undefined : "a machine needs root";
if (missing !== undefined) console.log(`not run: model servers on the host: ${missing}`);

const PUPPET = join(import.meta.dirname, "support/puppet");
const SERVER = resolve("examples/local-model/server");
const APP = `
import { App, TerraformStack } from "cdktf";
import { Access, AgentHost, LocalMachine, ModelProvider, Runtime } from "KIT";

const app = new App();
const stack = new TerraformStack(app, "own");
const machine = new LocalMachine(stack, "machine", { engine: "nspawn", rootGiB: 4, dataGiB: 1 });
const host = new AgentHost(stack, "own", { machine, access: Access.operator() });
const agent = host.addAgent("puppet", {
  runtime: Runtime.command({ source: ${JSON.stringify(PUPPET)}, argv: ["node", "./main.mjs"], health: "/healthz", ask: "/v1/chat/completions" }),
});
const local = host.addModel("local", ModelProvider.onHost({
  source: ${JSON.stringify(SERVER)},
  argv: ["node", "./main.mjs", "--port={port}"],
  health: "/health",
  memoryMiB: 256,
  prices: { parrot: { input: 1, output: 1 } },
}));
local.grantInvoke(agent, { models: ["parrot"], usdPerDay: 1 });
app.synth();
`;

describe.skipIf(missing !== undefined)("a model server on the host", { timeout: 200_000 }, () => {
  let project: Project;
  beforeAll(async () => {
    project = new Project(APP);
    ok(await project.cdktf(["deploy", "own", "--auto-approve"]));
  });
  afterAll(async () => {
    await project?.cdktf(["destroy", "own", "--auto-approve"]);
    project?.remove();
  });

  /** What a script of Node.js prints behind `SAID` in the agent's sandbox. */
  async function asAgent(text: string): Promise<string> {
    const code = Buffer.from(
      `(async () => { console.log("SAID" + JSON.stringify(await (async () => { ${text} })())) })()`,
    );
    const command = `$0 --input-type=module -e "eval(Buffer.from('${code.toString("base64")}','base64').toString())"`;
    const { reply } = JSON.parse(ok(await project.bailiwick(["ask", "own", `sh ${command}`, "--json"])).stdout);
    const said = /SAID(.*)$/m.exec(reply)?.[1];
    if (said === undefined) throw new Error(reply);
    return JSON.parse(said);
  }
  const call = (base: string, stream: boolean) => `
    const { readFileSync } = process.getBuiltinModule("node:fs");
    const key = readFileSync(process.env.CREDENTIALS_DIRECTORY + "/agent.puppet.virtual-key", "utf8");
    const body = JSON.stringify({ model: "parrot", stream: ${stream}, messages: [{ role: "user", content: "good day" }] });
    const headers = { authorization: "Bearer " + key, "content-type": "application/json" };
    return fetch(${base} + "/v1/chat/completions", { method: "POST", headers, body })
      .then(async (answer) => answer.status + " " + (await answer.text()), (error) => error.cause.code);`;
  const GATEWAY = "process.env.BAILIWICK_MODEL_URL_LOCAL";

  it("answers an agent through the gateway, whole and as a stream, and what it used is booked", async () => {
    expect(await asAgent(call(GATEWAY, false))).toMatch(/^200 .*"content":"you said: good day"/);
    expect(await asAgent(call(GATEWAY, true))).toMatch(/^200 data: [\s\S]*"content":"day "[\s\S]*data: \[DONE\]/);
    const { calls } = JSON.parse(ok(await project.bailiwick(["spend", "own", "--json"])).stdout);
    expect(calls).toMatchObject([{ agent: "puppet", route: "local", model: "parrot", calls: 2 }]);
    expect(calls[0].usd).toBeGreaterThan(0);
  });

  it("answers nobody but the gateway", async () => {
    const { units } = JSON.parse(ok(await project.bailiwick(["status", "own", "--json"])).stdout);
    expect(units).toContainEqual(expect.objectContaining({ name: "bailiwick-model-local.service", ready: true }));
    const port = JSON.parse(project.read("cdktf.out/stacks/own/bailiwick/own.json")).models.local.uid - 10_000;
    expect(await asAgent(call(`"http://127.0.0.1:${port}"`, false))).toBe("ECONNREFUSED");
  });

  it("holds what verify asks of every principal", async () => {
    const { probes } = JSON.parse((await project.bailiwick(["verify", "own", "--json"])).stdout);
    const own = probes.filter(({ id }: { id: string }) => id.startsWith("model/local/"));
    expect(own.length).toBeGreaterThan(10);
    expect(probes.filter(({ verdict }: { verdict: string }) => verdict === "broken")).toEqual([]);
  });
});
