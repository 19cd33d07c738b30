import { expect, it } from "vitest";
import { spendLines } from "../../../runtime/cli/commands/spend.ts";
import { SpendAnswer } from "../../../runtime/spec/activator.ts";

it("spending is shown by budget, agent, model and day", () => {
  const answer = SpendAnswer.parse({
    timeZone: "Europe/Berlin",
    budgets: [
      {
        ...{ scope: "grant/ops/claude", period: "day", name: "2026-11-26", resetsAt: "2026-11-26T23:00:00.000Z" },
        ...{ cap: 5, spent: 1.25, reserved: 0.5, leased: 0.05, left: 3.25 },
      },
    ],
    calls: [
      {
        ...{ day: "2026-11-26", agent: "ops", route: "claude", model: "claude-sonnet-4-6" },
        ...{ calls: 3, inputTokens: 4000, outputTokens: 500, usd: 0.0195 },
      },
    ],
    providers: [
      { name: "claude", up: false },
      { name: "gpt", up: true },
    ],
  });
  expect(spendLines(answer).join("\n")).toMatchInlineSnapshot(`
    "budgets (days and months of Europe/Berlin)
      of                period          cap    spent  reserved   leased     left   begins anew
      grant/ops/claude  day 2026-11-26  $5.00  $1.25  $0.500000  $0.050000  $3.25  2026-11-26T23:00:00Z
    calls
      day         agent  model                     calls  input  output  spent
      2026-11-26  ops    claude/claude-sonnet-4-6  3      4000   500     $0.019500
    provider "claude" has failed several times in a row and is left alone for the moment"
  `);
  expect(spendLines({ ...answer, budgets: [], calls: [], providers: [] })).toEqual([
    "budgets: none is set; see usdPerDay of grantInvoke",
    "calls: none yet",
  ]);
});
