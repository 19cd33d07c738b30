import { symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bindingsOf, NOT_RUN, type Run, run, TerraformProject, terraformMissing } from "./terraform-project.ts";

if (terraformMissing) console.log(NOT_RUN);

// Two stacks of one app: `box` is complete, `cloud` still lacks its admin's key and network.
const MAIN = `
import { App, TerraformStack } from "cdktf";
import { Access, AgentHost, LocalMachine } from ${JSON.stringify(pathToFileURL(resolve("constructs/index.ts")).href)};

const app = new App();
for (const [id, access] of [
  ["box", Access.operator()],
  ["cloud", Access.fromEnv({ key: "BAILIWICK_TEST_KEY", from: "BAILIWICK_TEST_CIDR" })],
]) {
  const stack = new TerraformStack(app, id);
  new AgentHost(stack, id, { machine: new LocalMachine(stack, "machine"), access });
}
app.synth();
`;

describe.skipIf(terraformMissing)(`deployed by cdktf${terraformMissing ? ` (${NOT_RUN})` : ""}`, () => {
  let project: TerraformProject;

  beforeAll(() => {
    project = new TerraformProject();
    const settings = {
      language: "typescript",
      app: `node ${resolve("test/run-typescript.mjs")} main.ts`,
      projectId: "test",
      sendCrashReports: "false",
      context: { "bailiwick:command": resolve("test/stacks/recording-command.mjs") },
    };
    writeFileSync(join(project.folder, "cdktf.json"), JSON.stringify(settings));
    writeFileSync(join(project.folder, "package.json"), JSON.stringify({ type: "module" }));
    writeFileSync(join(project.folder, "main.ts"), MAIN);
    symlinkSync(resolve("node_modules"), join(project.folder, "node_modules"));
  });

  afterAll(() => project.remove());

  function cdktf(...args: string[]): Promise<Run> {
    const env = { ...process.env, ...project.env(), XDG_CONFIG_HOME: project.folder, CI: "1" };
    return run(resolve("node_modules/.bin/cdktf"), args, { cwd: project.folder, env });
  }

  it("deploys although another stack still lacks its values, then finds nothing to do, then destroys", {
    timeout: 120_000,
  }, async () => {
    const first = await cdktf("deploy", "box", "--auto-approve");
    expect(first.code, first.output).toBe(0);
    const calls = project.calls();
    expect(calls.map(({ verb }) => verb)).toEqual(["image", "boot", "push"]);
    expect(calls[0]?.cwd).toBe(project.stackFolder);
    expect(bindingsOf(calls[2]).machine.slot).toMatch(/^[0-9a-f-]{36}$/);

    const second = await cdktf("deploy", "box", "--auto-approve");
    expect(second.code, second.output).toBe(0);
    expect(project.verbs()).toEqual([]);

    const destroyed = await cdktf("destroy", "box", "--auto-approve", "--skip-synth");
    expect(destroyed.code, destroyed.output).toBe(0);
    expect(project.verbs()).toEqual(["destroy"]);
  });
});
