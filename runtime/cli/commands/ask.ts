import { Activator } from "../../release/activator-client.ts";
import type { Command } from "../command.ts";
import { EXIT, UsageError } from "../errors.ts";
import { withHost } from "../session.ts";

export const ask: Command = {
  usage: 'ask <host> "<message>" [--agent <name>] [--timeout <seconds>] [--json]',
  summary: "put a question to an agent, print its reply",
  options: { agent: { type: "string" }, timeout: { type: "string" } },
  words: [2, 2],
  async run(call, output) {
    const [name = "", message = ""] = call.words;
    if (message.trim() === "") throw new UsageError("received an empty message; write the question in quotes");
    const seconds = Number(call.text("timeout") ?? 120);
    if (!Number.isInteger(seconds) || seconds < 1)
      throw new UsageError(`received --timeout ${call.text("timeout")}; write a number of seconds`);
    return withHost(name, async ({ spec, connection }) => {
      const agents = Object.keys(spec.agents);
      const wanted = call.text("agent");
      const agent = agents.find((one) => one === (wanted ?? (agents.length === 1 ? one : undefined)));
      if (agent === undefined)
        throw new UsageError(
          `${wanted === undefined ? "" : `received --agent "${wanted}"; `}host "${name}" has ` +
            `${agents.length === 0 ? "no agent" : `agents ${agents.join(", ")}; say which with --agent`}`,
        );
      const activator = await Activator.ofCurrentRelease(connection);
      const started = performance.now();
      const waiting = setInterval(() => {
        const waited = Math.round((performance.now() - started) / 1000);
        output.progress(
          `no reply yet, ${waited} of ${seconds} s; \`bailiwick logs ${name} -u gateway\` shows its calls`,
        );
      }, 15_000);
      const answer = await activator.ask(agent, message, seconds).finally(() => clearInterval(waiting));
      output.document(answer);
      output.say(answer.reply);
      return EXIT.held;
    });
  },
};
