import { type ProbeResult, type Report, verifyHost } from "../../verify/verify.ts";
import type { Command } from "../command.ts";
import { EXIT } from "../errors.ts";
import { findIdentity } from "../identity.ts";
import { type Output, table } from "../output.ts";
import { withHost } from "../session.ts";

export const verify: Command = {
  usage: "verify <host> [--only <text>] [--allow-unprovable] [--json]",
  summary: "try every boundary of a host: exit 0 only if all of them are proven to hold",
  options: { only: { type: "string" }, "allow-unprovable": { type: "boolean" } },
  words: [1, 1],
  async run(call, output) {
    const report = await withHost(call.words[0] ?? "", async ({ spec, bindings, address, admin, connection }) => {
      const { identity } = await findIdentity(spec);
      output.progress(`trying the boundaries of ${spec.name}`);
      const { publicKey: bootstrapKey } = bindings.bootstrap;
      return verifyHost({ connection, address, admin, identity, spec, bootstrapKey, only: call.text("only") });
    });
    output.document(report);
    say(report, output);
    return exitCode(report, call.flag("allow-unprovable"));
  },
};

/** What was not proven is not held: it fails as well, unless the caller knows why and says so. */
export function exitCode({ broken, unprovable }: Report, allowUnprovable: boolean): number {
  return broken === 0 && (unprovable === 0 || allowUnprovable) ? EXIT.held : EXIT.failed;
}

function say({ host, release, probes, held, broken, unprovable, left }: Report, output: Output): void {
  for (const line of table(probes.map(({ verdict, id, title }) => [verdict, id, title]))) output.say(line);
  for (const probe of probes.filter(({ verdict }) => verdict !== "held"))
    for (const line of details(probe)) output.say(line);
  output.say("");
  output.say(
    `${host}, release ${release.slice(0, 12)}: ${held} of ${probes.length} held, ${broken} broken, ${unprovable} unprovable${left === 0 ? "" : `; ${left} others not tried`}`,
  );
  if (unprovable > 0)
    output.say("unprovable is not held: exit code 1, unless --allow-unprovable is given and nothing is broken");
}

function details({ verdict, id, expected, found, reason }: ProbeResult): string[] {
  return [
    "",
    `${verdict}: ${id}`,
    `  expected: ${expected}`,
    `  found:    ${found}`,
    ...(reason === undefined ? [] : [`  reason:   ${reason}`]),
  ];
}
