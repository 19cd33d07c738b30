import { Activator } from "../../release/activator-client.ts";
import type { PendingCall } from "../../spec/guard-admin.ts";
import { visible } from "../../spec/tool-definitions.ts";
import type { Command } from "../command.ts";
import { EXIT, UsageError } from "../errors.ts";
import { withHost } from "../session.ts";

export const approve: Command = {
  usage: "approve <host> [<id>] [--deny] [--json]",
  summary: "calls of tools that write and wait for a person; with an id, lets that one call through once",
  options: { deny: { type: "boolean" } },
  words: [1, 2],
  async run(call, output) {
    const [name = "", id] = call.words;
    const deny = call.flag("deny");
    if (id === undefined && deny) throw new UsageError("received --deny without an id; name the call to deny");
    if (id !== undefined && !/^[0-9a-f]{8}$/.test(id))
      throw new UsageError(
        `received ${JSON.stringify(id)}; an id is 8 hex digits, as \`bailiwick approve ${name}\` lists`,
      );
    return withHost(name, async ({ connection, admin }) => {
      const activator = await Activator.ofCurrentRelease(connection);
      if (id === undefined) {
        const answer = await activator.guard({ do: "pending" });
        const pending = "pending" in answer ? answer.pending : [];
        output.document(pending);
        for (const line of pending.flatMap(shown)) output.say(line);
        if (pending.length === 0) output.say(`${name}: no call waits for approval`);
        return EXIT.held;
      }
      // the host names the admin itself, by whom sudo was called; what is said here does not count there
      const answer = await activator.guard({ do: deny ? "deny" : "approve", id, by: admin });
      if (!("settled" in answer)) {
        output.document(answer);
        output.say("error" in answer ? answer.error : "the host answered something else than was asked for");
        return EXIT.failed;
      }
      output.document(answer.settled);
      for (const line of shown(answer.settled)) output.say(line);
      output.say(deny ? "denied" : "approved: once, for exactly these arguments, for five minutes");
      return EXIT.held;
    });
  },
};

/** What an admin must see before approving: who, what, and every argument, with nothing in it that a terminal obeys. */
export function shown({ id, agent, server, tool, arguments: args, expiresAt }: PendingCall): string[] {
  return [
    `${id}  agent ${agent} calls ${tool} of ${server} (until ${expiresAt})`,
    ...Object.entries(args).map(([key, value]) => `    ${printable(key)}: ${printable(JSON.stringify(value))}`),
  ];
}

function printable(text: string): string {
  const control = (c: string) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return visible(text.replace(/\p{Cc}/gu, control));
}
