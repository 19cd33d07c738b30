import { Activator } from "../../release/activator-client.ts";
import type { SpendAnswer } from "../../spec/activator.ts";
import type { Command } from "../command.ts";
import { EXIT } from "../errors.ts";
import { table } from "../output.ts";
import { withHost } from "../session.ts";

export const spend: Command = {
  usage: "spend <host> [--json]",
  summary: "what was spent on models, by agent, model and day, and what is left of each budget",
  words: [1, 1],
  async run(call, output) {
    return withHost(call.words[0] ?? "", async ({ host, connection }) => {
      const activator = await Activator.ofCurrentRelease(connection);
      const answer = await activator.spend();
      output.document({ host: host.name, ...answer });
      for (const line of spendLines(answer)) output.say(line);
      return EXIT.held;
    });
  },
};

/** The report for people. */
export function spendLines({ timeZone, budgets, calls, providers }: SpendAnswer): string[] {
  const budgetRows = budgets.map(({ scope, period, name, cap, spent, reserved, leased, left, resetsAt }) => [
    ...[`  ${scope}`, `${period} ${name}`, usd(cap), usd(spent), usd(reserved), usd(leased), usd(left)],
    resetsAt.replace(/\.000Z$/, "Z"),
  ]);
  const callRows = calls.map(({ day, agent, route, model, calls, inputTokens, outputTokens, usd: amount }) => [
    ...[`  ${day}`, agent, `${route}/${model}`, String(calls), String(inputTokens), String(outputTokens), usd(amount)],
  ]);
  const down = providers.filter(({ up }) => !up);
  return [
    ...(budgets.length === 0
      ? ["budgets: none is set; see usdPerDay of grantInvoke"]
      : [
          `budgets (days and months of ${timeZone})`,
          ...table([["  of", "period", "cap", "spent", "reserved", "leased", "left", "begins anew"], ...budgetRows]),
        ]),
    ...(calls.length === 0
      ? ["calls: none yet"]
      : ["calls", ...table([["  day", "agent", "model", "calls", "input", "output", "spent"], ...callRows])]),
    ...down.map(({ name }) => `provider "${name}" has failed several times in a row and is left alone for the moment`),
  ];
}

/** Cents, and below a dollar what is smaller than a cent too. */
function usd(amount: number): string {
  return `$${amount.toFixed(amount >= 1 || amount === 0 ? 2 : 6)}`;
}
