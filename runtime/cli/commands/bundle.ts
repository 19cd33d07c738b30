import { buildComponents } from "../../release/components.ts";
import type { Command } from "../command.ts";
import { EXIT } from "../errors.ts";
import { table } from "../output.ts";
import { findHost, projectRoot } from "../project.ts";

export const bundle: Command = {
  usage: "bundle <host> [--json]",
  summary: "build the components a host needs into the cache, without touching the host",
  words: [1, 1],
  async run(call, output) {
    const { spec } = findHost(call.words[0] ?? "");
    const components = await buildComponents(spec, { project: projectRoot(), progress: output.progress });
    output.document(
      Object.fromEntries(Object.entries(components).map(([name, { digest, archive }]) => [name, { digest, archive }])),
    );
    for (const line of table(
      Object.values(components).map(({ name, digest, archive }) => [
        name,
        digest.slice(0, 12),
        `${(archive.bytes / 1048576).toFixed(1)} MiB`,
      ]),
    ))
      output.say(line);
    return EXIT.held;
  },
};
