import { Activator } from "../../release/activator-client.ts";
import { buildComponents } from "../../release/components.ts";
import { push as pushRelease } from "../../release/push.ts";
import { reportCredentials } from "../../release/secret-readers.ts";
import { digestOf } from "../../spec/digest.ts";
import type { Call, Command } from "../command.ts";
import { isEmulated } from "../emulation.ts";
import { EXIT, UsageError } from "../errors.ts";
import { findIdentity } from "../identity.ts";
import { kitVersion } from "../kit.ts";
import { type Output, table } from "../output.ts";
import { findHost, projectRoot } from "../project.ts";
import { withHost } from "../session.ts";

export const secrets: Command = {
  usage: "secrets check|rotate <host> [<credential>...] [--json]",
  summary:
    "which secrets can be had here and who reads them; new values to their readers alone, keys in pairs meanwhile",
  words: [2, 50],
  async run(call, output) {
    const [verb] = call.words;
    if (verb === "check") return check(call, output);
    if (verb === "rotate") return rotate(call, output);
    throw new UsageError(`received "secrets ${verb}"; there are secrets check, secrets rotate`);
  },
};

async function check(call: Call, output: Output): Promise<number> {
  const { spec } = findHost(call.words[1] ?? "");
  const reports = await reportCredentials(spec, projectRoot());
  output.document(reports);
  for (const line of table(
    reports.map(({ name, source, here, readers }) => [
      name,
      here === null ? "on the host" : here.ok ? "at hand" : "missing",
      here?.reason ?? source,
      `read by ${readers.join(", ") || "nobody"}`,
    ]),
  ))
    output.say(line);
  return reports.some(({ here }) => here?.ok === false) ? EXIT.failed : EXIT.held;
}

/**
 * One release in which the gateway takes the old virtual key and the new one, and one in which it takes the new one alone.
 * The operator's own secrets are sealed anew from where they come from, which is where their new values must be by then.
 */
async function rotate(call: Call, output: Output): Promise<number> {
  const [, name = "", ...wanted] = call.words;
  return withHost(name, async ({ host, spec, bindings, address, admin, connection }) => {
    const project = projectRoot();
    const reports = await reportCredentials(spec, project);
    const chosen = choose(reports, wanted);
    const status = await (await Activator.ofCurrentRelease(connection)).status();
    if (status.spec !== digestOf(spec))
      throw new UsageError(`what is synthesised differs from what runs on "${name}"; push that first, then rotate`);
    const { identity } = await findIdentity(spec);
    const components = buildComponents(spec, { project, progress: output.progress });
    const options = {
      ...{ spec: host.spec, bindings, address, identity, admin, kitVersion: kitVersion(), components, project },
      emulated: await isEmulated(bindings),
      ...{ why: `bailiwick secrets rotate ${wanted.join(" ")}`.trim(), progress: output.progress },
    };
    const renew = chosen.filter(({ here }) => here === null).map((report) => report.name);
    const first = await pushRelease({ ...options, renew });
    const last = renew.length === 0 ? first : await pushRelease(options);
    const restarted = [...new Set([...first.restarted, ...last.restarted])].sort();
    const document = { release: last.release, rotated: [...new Set([...first.sealed, ...last.sealed])], restarted };
    output.document(document);
    output.say(`${name}: rotated ${document.rotated.join(", ") || "nothing, all values are the ones it has"}`);
    if (restarted.length > 0) output.say(`restarted ${restarted.join(", ")}`);
    return EXIT.held;
  });
}

/** Default: every virtual key and token that the host made. */
function choose<T extends { name: string; here: { ok: boolean; reason: string | null } | null }>(
  reports: readonly T[],
  wanted: readonly string[],
): T[] {
  if (wanted.length === 0) return reports.filter(({ here }) => here === null);
  return wanted.map((name) => {
    const report = reports.find((one) => one.name === name || one.name === `secret.${name}`);
    if (report === undefined)
      throw new UsageError(
        `received credential "${name}"; the host has ${reports.map((one) => one.name).join(", ") || "none"}`,
      );
    if (report.here?.ok === false)
      throw new UsageError(`${report.name}: ${report.here.reason}; set its new value first`);
    return report;
  });
}
