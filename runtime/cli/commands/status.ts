import { Activator, HostError } from "../../release/activator-client.ts";
import { digestOf } from "../../spec/digest.ts";
import { parsePublicKey } from "../../ssh/public-key.ts";
import type { Command } from "../command.ts";
import { EXIT } from "../errors.ts";
import { table } from "../output.ts";
import { withHost } from "../session.ts";

export const status: Command = {
  usage: "status <host> [--json]",
  summary: "what runs, which release, who is pushing, the host key's fingerprint",
  words: [1, 1],
  async run(call, output) {
    return withHost(call.words[0] ?? "", async ({ host, spec, address, bindings, connection }) => {
      const found = await Activator.ofCurrentRelease(connection).then(
        (activator) => activator.status(),
        (error) => {
          if (error instanceof HostError) return null;
          throw error;
        },
      );
      const fingerprint = parsePublicKey(connection.hostKey).fingerprint;
      const upToDate = found?.spec === digestOf(spec);
      const document = {
        host: host.name,
        address: `${address.host}:${address.port}`,
        instance: bindings.machine.instance,
        fingerprint,
        upToDate,
        ...(found ?? {
          ...{ release: null, spec: null, unconfirmed: false, problems: [] },
          ...{ units: [], lock: null, failedUnits: [], providers: null },
        }),
      };
      output.document(document);
      output.say(`${host.name}: ${document.address}, host key ${fingerprint}`);
      output.say(
        found === null
          ? "no release yet; run `npx cdktf deploy` or `bailiwick push`"
          : `release ${found.release?.slice(0, 12)}${upToDate ? "" : " (the synthesised spec differs: push to apply it)"}`,
      );
      if (document.unconfirmed)
        output.say("  not confirmed yet: the host takes it back in a moment unless its push confirms it");
      for (const problem of document.problems) output.say(`  ${problem}`);
      if (found?.lock) output.say(`locked by ${found.lock.who} since ${found.lock.since}: ${found.lock.why}`);
      for (const line of table(
        document.units.map((unit) => [
          `  ${unit.name.replace(/\.service$/, "")}`,
          unit.ready ? "ready" : "not ready",
          unit.state,
          unit.since ?? "",
          unit.restarts === 0 ? "" : `${unit.restarts} restarts`,
        ]),
      ))
        output.say(line);
      for (const { name, up, failures, retryAt } of document.providers ?? [])
        if (!up)
          output.say(`  provider "${name}" has failed ${failures} times in a row and is left alone until ${retryAt}`);
      for (const unit of document.failedUnits) output.say(`  failed: ${unit}`);
      return document.units.length > 0 &&
        document.units.every((unit) => unit.ready) &&
        document.failedUnits.length === 0 &&
        document.problems.length === 0
        ? EXIT.held
        : EXIT.failed;
    });
  },
};
