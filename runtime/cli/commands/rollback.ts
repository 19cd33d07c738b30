import { connectToHost } from "../../release/host-trust.ts";
import { rollback as rollbackRelease } from "../../release/rollback.ts";
import type { Command } from "../command.ts";
import { EXIT } from "../errors.ts";
import { findIdentity } from "../identity.ts";
import { withHost } from "../session.ts";

export const rollback: Command = {
  usage: "rollback <host> [<release>] [--json]",
  summary: "back to the release before, or to one that `releases` lists, with its secrets and agents' state",
  words: [1, 2],
  async run(call, output) {
    const [name = "", wanted] = call.words;
    return withHost(name, async ({ spec, bindings, address, admin, connection }) => {
      const { identity } = await findIdentity(spec);
      const login = { ...address, username: admin, identity, spec, bindings, timeoutMs: 30_000 };
      const answer = await rollbackRelease({
        ...{ connection, spec, admin, wanted },
        reconnect: () => connectToHost(login),
        progress: output.progress,
      });
      output.document(answer);
      output.say(`${name}: release ${answer.release.slice(0, 12)} serves again`);
      output.say("the code still says what it said before: push or deploy makes that current again");
      return EXIT.held;
    });
  },
};
