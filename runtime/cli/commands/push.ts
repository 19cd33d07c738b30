import { readFileSync } from "node:fs";
import { clearBeside, takePlace } from "../../local/machine.ts";
import { Activator } from "../../release/activator-client.ts";
import { buildComponents } from "../../release/components.ts";
import { dryRun } from "../../release/dry-run.ts";
import { push as pushRelease } from "../../release/push.ts";
import { Bindings } from "../../spec/binding.ts";
import { parseHostSpec } from "../../spec/host-spec.ts";
import { waitForSshBanner } from "../../ssh/reachability.ts";
import type { Command } from "../command.ts";
import { emulationWarning, isEmulated } from "../emulation.ts";
import { EXIT, UsageError } from "../errors.ts";
import { findIdentity } from "../identity.ts";
import { kitVersion } from "../kit.ts";
import type { Output } from "../output.ts";
import { findHost, projectRoot, readBindings } from "../project.ts";
import { machineAddress, withHost } from "../session.ts";

export const push: Command = {
  usage: "push <host> [--dry-run] [--why <text>] [--json]",
  summary: "build, upload and activate what the spec says; an unchanged push restarts nothing",
  options: {
    spec: { type: "string" },
    "from-terraform": { type: "boolean" },
    why: { type: "string" },
    "dry-run": { type: "boolean" },
  },
  words: [1, 1],
  async run(call, output) {
    const name = call.words[0] ?? "";
    if (call.flag("dry-run")) return showDryRun(name, output);
    const { spec, bindings: told } = call.flag("from-terraform") ? fromTerraform(call.text("spec")) : fromProject(name);
    if (spec.name !== name) throw new UsageError(`received host "${name}", but the spec is of "${spec.name}"`);
    const project = projectRoot();
    const components = buildComponents(spec, { project, progress: output.progress });
    components.catch(() => {}); // awaited by the push, once the host is known to be ours
    const bindings = await told;
    const { admin, identity } = await findIdentity(spec);
    const address = await machineAddress(bindings, name);
    const { machine } = bindings;
    const local = machine.kind === "local" ? machine : undefined;
    const emulated = await isEmulated(bindings);
    const warning = emulated ? emulationWarning(spec) : undefined;
    if (warning !== undefined) output.progress(warning);
    await waitForSshBanner({ ...address, timeoutMs: 120_000 });
    let placeTaken = false;
    const beforeActivation = async () => {
      if (local !== undefined) placeTaken = await takePlace(local.slot, local.instance, output.progress);
    };
    const result = await pushRelease({
      spec,
      bindings,
      address,
      identity,
      admin,
      kitVersion: kitVersion(),
      emulated,
      components,
      project,
      why: call.text("why") ?? (call.flag("from-terraform") ? "cdktf deploy" : "bailiwick push"),
      beforeActivation,
      progress: output.progress,
    }).finally(async () => {
      if (local !== undefined && placeTaken) await clearBeside(local.slot);
    });
    output.document(result);
    const changed = [
      ...result.restarted.map((unit) => `restarted ${unit}`),
      ...result.reloaded.map((unit) => `reloaded ${unit}`),
      ...result.stopped.map((unit) => `stopped ${unit}`),
    ];
    output.say(
      `${name}: release ${result.release.slice(0, 12)} serves (${changed.length === 0 ? "nothing restarted" : changed.join(", ")})`,
    );
    return EXIT.held;
  },
};

async function showDryRun(name: string, output: Output): Promise<number> {
  return withHost(name, async ({ spec, bindings, connection }) => {
    const activator = await Activator.ofCurrentRelease(connection);
    const project = projectRoot();
    const components = await buildComponents(spec, { project, progress: output.progress });
    const emulated = await isEmulated(bindings);
    const found = await dryRun({ activator, spec, kitVersion: kitVersion(), emulated, components, project });
    output.document(found);
    if (found.release === found.current)
      output.say(`${name}: release ${found.release.slice(0, 12)} is current already`);
    for (const { path, change, removed, added } of found.files) {
      output.say(`${change}: ${path}`);
      for (const line of removed) output.say(`  - ${line}`);
      for (const line of added) output.say(`  + ${line}`);
    }
    const lists = { upload: found.upload, "seal anew": found.secrets, restart: found.restart, stop: found.stop };
    for (const [verb, names] of Object.entries(lists)) if (names.length > 0) output.say(`${verb}: ${names.join(", ")}`);
    if (found.notice !== null) output.say(found.notice);
    return EXIT.held;
  });
}

function fromTerraform(specPath: string | undefined) {
  const bindings = process.env.BAILIWICK_BINDINGS;
  if (specPath === undefined || bindings === undefined)
    throw new UsageError(
      "--from-terraform needs --spec and the environment variable BAILIWICK_BINDINGS, as Terraform sets them",
    );
  return {
    spec: parseHostSpec(JSON.parse(readFileSync(specPath, "utf8"))),
    bindings: Bindings.parse(JSON.parse(bindings)),
  };
}

function fromProject(name: string) {
  const host = findHost(name);
  return { spec: host.spec, bindings: readBindings(host) };
}
