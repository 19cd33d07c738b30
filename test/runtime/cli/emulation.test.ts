import { expect, it } from "vitest";
import { emulationWarning } from "../../../runtime/cli/emulation.ts";
import { exampleSpec } from "../../fixtures/spec.ts";

const OTHER = {
  uid: 20102,
  runtime: { kind: "command", argv: ["node", "./main.mjs"], env: {}, health: null, ask: null, source: "echo" },
  budget: exampleSpec().budget,
} as never;

it("names the agents that are not expected to get ready on an emulated machine, and what to use", () => {
  const spec = exampleSpec();
  const warning = emulationWarning({ ...spec, agents: { ...spec.agents, echo: OTHER } });
  expect(warning).toContain("OpenClaw (agents: ops) is not expected to get ready");
  expect(warning).toContain('engine "nspawn"');
  expect(warning).not.toContain("echo");
});

it("says nothing where no agent is OpenClaw", () => {
  expect(emulationWarning({ ...exampleSpec(), agents: { echo: OTHER } })).toBeUndefined();
});
