import { readFileSync } from "node:fs";
import { BASELINE_PACKAGES } from "../../../cloud-init/baseline.ts";
import { ensureImage } from "../../local/image.ts";
import {
  bootBeside,
  bootMachine,
  destroyMachine,
  listMachines,
  type MachineStatus,
  machineStatus,
  rebootMachine,
  startBeside,
  startMachine,
  stopMachine,
} from "../../local/machine.ts";
import { buildComponents } from "../../release/components.ts";
import { requireSecretsAtHand } from "../../release/secret-readers.ts";
import { parseHostSpec } from "../../spec/host-spec.ts";
import { UnreachableError } from "../../ssh/errors.ts";
import type { Call, Command } from "../command.ts";
import { EXIT, UsageError } from "../errors.ts";
import { type Output, table } from "../output.ts";
import { findHost, projectRoot, readBindings } from "../project.ts";
import { notRunning } from "../session.ts";

/** What local machines run; the spec of any other is refused by its machine. */
const IMAGE = { os: "debian-13", packages: BASELINE_PACKAGES } as const;

type Verb = (call: Call, output: Output) => Promise<number>;

// image, boot and destroy are what Terraform's provisioners call; people use the others.
const verbs: Record<string, Verb> = {
  async image(_call, output) {
    const image = await ensureImage({ ...IMAGE, progress: output.progress });
    output.document(image);
    output.say(`image ${image.digest.slice(0, 12)} is ready`);
    return EXIT.held;
  },

  async boot(call, output) {
    const userData = process.env.BAILIWICK_USER_DATA;
    const specPath = call.text("spec");
    const { slot, instance } = { slot: call.text("slot"), instance: call.text("instance") };
    if (userData === undefined || specPath === undefined || slot === undefined || instance === undefined)
      throw new UsageError(
        "local boot needs --spec, --slot, --instance and the environment variable BAILIWICK_USER_DATA, as Terraform sets them",
      );
    const dataFrom = call.text("data-from");
    const spec = parseHostSpec(JSON.parse(readFileSync(specPath, "utf8")));
    const before = await machineStatus(slot);
    const replaces = before.state !== "absent" && before.instance !== instance;
    if (replaces) await requireSecretsAtHand(spec, projectRoot());
    if (spec.machine.kind !== "local" || spec.os !== IMAGE.os)
      throw new UsageError(
        `host "${spec.name}" runs ${spec.os} on a machine of kind ${spec.machine.kind}, not ${IMAGE.os} on this computer`,
      );
    const { engine, memoryMiB, cpus, rootGiB, dataGiB } = spec.machine;
    const image = await ensureImage({ ...IMAGE, progress: output.progress });
    // what takes the place of a machine has all it needs before that one stops, and a first one as soon as it is up
    const components = await buildComponents(spec, { project: projectRoot(), progress: output.progress });
    const plan = {
      slot,
      instance,
      host: spec.name,
      image,
      memoryMiB,
      cpus,
      rootGiB,
      dataGiB,
      ...(dataFrom === undefined ? {} : { dataFrom }),
      components: Object.values(components),
      userData,
      progress: output.progress,
    };
    // The push that follows lets it take the other's place when it lacks nothing but the data volume.
    const beside = replaces && before.state === "running" && engine === "nspawn";
    const machine = await (beside ? bootBeside({ ...plan, engine }) : bootMachine({ ...plan, engine }));
    output.document(machine);
    output.say(`machine of "${spec.name}" runs, sshd at ${machine.address}:${machine.port}`);
    return EXIT.held;
  },

  async destroy(call, output) {
    const slot = call.text("slot") ?? (await slotOf(call));
    await destroyMachine(slot, { keepData: call.flag("keep-data") });
    const { dataVolume: kept } = { dataVolume: false, ...(await machineStatus(slot)) };
    output.document({ slot, destroyed: true, dataVolume: kept });
    const how = `; its data volume is kept: dataFrom: "${slot}" on a LocalMachine takes it over, \`bailiwick local destroy --slot ${slot}\` deletes it`;
    output.say(`local machine ${slot} is gone${kept ? how : ""}`);
    return EXIT.held;
  },

  async status(call, output) {
    const rows = call.words.length === 1 ? await listMachines() : [await machineStatus(await slotOf(call))];
    output.document(rows);
    if (rows.length === 0) output.say("there is no local machine on this computer");
    for (const line of table(
      rows.map((row) =>
        row.state === "absent"
          ? ["", row.slot, row.dataVolume ? "data volume alone" : "absent"]
          : [row.host, row.slot, stateOf(row), `${row.address}:${row.port}`],
      ),
    ))
      output.say(line);
    return EXIT.held;
  },

  async stop(call, output) {
    const slot = await slotOf(call);
    output.progress("powering off");
    await stopMachine(slot);
    return changed(call, output, { slot, state: "stopped" });
  },

  async start(call, output) {
    const slot = await slotOf(call);
    await startMachine(slot, { progress: output.progress });
    await startBeside(slot, { progress: output.progress });
    return changed(call, output, { slot, state: "running" });
  },

  async reboot(call, output) {
    const slot = await slotOf(call);
    const { state } = await machineStatus(slot);
    if (state !== "running") throw new UnreachableError(notRunning(hostOf(call), slot, state));
    await rebootMachine(slot, { progress: output.progress });
    return changed(call, output, { slot, state: "running" });
  },
};

function stateOf(row: Exclude<MachineStatus, { state: "absent" }>): string {
  return row.state === "running" && row.emulated ? "running, emulated" : row.state;
}

function changed(call: Call, output: Output, document: { slot: string; state: "running" | "stopped" }): number {
  output.document(document);
  output.say(`machine of "${hostOf(call)}" is ${document.state}`);
  if (document.state === "running")
    output.say(`its agents are ready when \`bailiwick status ${hostOf(call)}\` says so`);
  return EXIT.held;
}

function hostOf(call: Call): string {
  const name = call.words[1];
  if (name === undefined) throw new UsageError(`local ${call.words[0]} needs a host's name`);
  return name;
}

/** The slot of the host named after the verb, from Terraform's state. */
async function slotOf(call: Call): Promise<string> {
  const { machine } = await readBindings(findHost(hostOf(call)));
  if (machine.kind === "local") return machine.slot;
  throw new UsageError(`the machine of "${hostOf(call)}" is not on this computer`);
}

export const local: Command = {
  usage: "local status|stop|start|reboot [<host>] [--json]",
  summary: "the machine of a local host itself",
  options: {
    slot: { type: "string" },
    instance: { type: "string" },
    spec: { type: "string" },
    host: { type: "string" },
    "keep-data": { type: "boolean" },
    "data-from": { type: "string" },
  },
  words: [1, 2],
  async run(call, output) {
    const name = call.words[0] ?? "";
    const verb = Object.hasOwn(verbs, name) ? verbs[name] : undefined;
    if (verb === undefined)
      throw new UsageError(
        `received "local ${name}"; there are ${Object.keys(verbs)
          .map((v) => `local ${v}`)
          .join(", ")}`,
      );
    return verb(call, output);
  },
};
