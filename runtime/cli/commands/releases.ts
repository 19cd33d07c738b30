import { Activator } from "../../release/activator-client.ts";
import type { Command } from "../command.ts";
import { EXIT } from "../errors.ts";
import { table } from "../output.ts";
import { withHost } from "../session.ts";

export const releases: Command = {
  usage: "releases <host> [--json]",
  summary: "releases that are on the host, and what became of each that was",
  words: [1, 1],
  async run(call, output) {
    return withHost(call.words[0] ?? "", async ({ connection }) => {
      const activator = await Activator.ofCurrentRelease(connection);
      const found = await activator.releases();
      output.document(found);
      for (const line of table(
        found.releases.map(({ release, confirmedAt, by, why }) => [
          release.slice(0, 12),
          release === found.unconfirmed ? "unconfirmed" : release === found.current ? "current" : "kept",
          confirmedAt ?? "never confirmed",
          by ?? "",
          why ?? "",
        ]),
      ))
        output.say(line);
      const undone = found.history.filter(({ outcome }) => outcome !== "confirmed").slice(0, 5);
      for (const { at, release, outcome, by, why } of undone)
        output.say(`${at}  ${release.slice(0, 12)} was ${outcome} (${why}, ${by})`);
      return EXIT.held;
    });
  },
};
