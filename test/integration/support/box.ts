import { join } from "node:path";

const PUPPET = join(import.meta.dirname, "puppet");

/** Values that must never be seen again once they were given to the pusher; one per kind of secret source. */
export const CANARIES = {
  env: "canary-env-9f3b1c77e2a04d5f8b6a",
  file: "canary-file-51c0de77aa9b4e3d8c2f",
  command: "canary-command-7d2e9a1b6c3f4850be11",
} as const;

export interface BoxOptions {
  /** Generation of the machine. */
  rebuild?: number;
  /** More lines in the stack's constructor; `host` and `agent` are there. */
  more?: string;
  greeting?: string;
}

/**
 * `main.ts` of a small team: host `box` with one agent that does what it is told, a demo model, three providers whose
 * keys are canaries, three workspaces (one rw, one ro, one not granted) and one granted name.
 */
export function boxApp({ rebuild = 0, more = "", greeting = "hello" }: BoxOptions = {}): string {
  return `
import { App, TerraformStack } from "cdktf";
import { Access, AgentHost, LocalMachine, ModelProvider, Runtime, Secret } from "KIT";

class Box extends TerraformStack {
  constructor(scope, id) {
    super(scope, id);
    const machine = new LocalMachine(this, "machine", { engine: "nspawn", rootGiB: 4, dataGiB: 1, rebuild: ${rebuild} });
    const host = new AgentHost(this, "box", { machine, access: Access.operator() });
    const agent = host.addAgent("puppet", {
      runtime: Runtime.command({
        source: ${JSON.stringify(PUPPET)},
        argv: ["node", "./main.mjs"],
        env: { GREETING: ${JSON.stringify(greeting)} },
        health: "/healthz",
        ask: "/v1/chat/completions",
      }),
    });
    host.addModel("demo", ModelProvider.demo()).grantInvoke(agent, { models: ["demo"] });
    host.addModel("claude", ModelProvider.anthropic({ apiKey: Secret.fromEnv("CANARY_ENV") })).grantInvoke(agent, { models: ["claude-sonnet-4-6"] });
    host.addModel("openai", ModelProvider.openai({ apiKey: Secret.fromFile("canary.txt") })).grantInvoke(agent, { models: ["gpt-5.6"] });
    host.addModel("other", ModelProvider.openAiCompatible({ url: "https://models.example.com", apiKey: Secret.fromCommand(["cat", "canary-2.txt"]) })).grantInvoke(agent, { models: ["qwen"] });
    host.addWorkspace("desk").grantReadWrite(agent);
    host.addWorkspace("library").grantRead(agent);
    host.addWorkspace("vault");
    agent.allowEgress("granted.example.com").allowAddress("10.20.30.40", 22);
    ${more}
  }
}

const app = new App();
new Box(app, "box");
app.synth();
`;
}
