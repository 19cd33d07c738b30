import { readFileSync } from "node:fs";
import { BASELINE_PACKAGES } from "../../../cloud-init/baseline.ts";
import { ensureImage } from "../../local/image.ts";
import {
  bootMachine,
  destroyMachine,
  listMachines,
  machineStatus,
  rebootMachine,
  startMachine,
  stopMachine,
} from "../../local/machine.ts";
import { parseHostSpec } from "../../spec/host-spec.ts";
import type { Call, Command } from "../command.ts";
import { EXIT, UsageError } from "../errors.ts";
import { type Output, table } from "../output.ts";
import { findHost, readBindings } from "../project.ts";

type Verb = (call: Call, output: Output) => Promise<number>;

// image, boot and destroy are what Terraform's provisioners call; people use the others.
const verbs: Record<string, Verb> = {
  async image(_call, output) {
    const image = await ensureImage({ os: "debian-13", packages: BASELINE_PACKAGES, progress: output.progress });
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
    const spec = parseHostSpec(JSON.parse(readFileSync(specPath, "utf8")));
    if (spec.machine.engine === "qemu")
      throw new UsageError(
        'machine.engine: received "qemu", which this version does not have yet; set engine: "nspawn"',
      );
    const { rootGiB, dataGiB } = spec.machine;
    const image = await ensureImage({ os: spec.os, packages: BASELINE_PACKAGES, progress: output.progress });
    const machine = await bootMachine({
      slot,
      instance,
      host: spec.name,
      engine: spec.machine.engine,
      image,
      rootGiB,
      dataGiB,
      userData,
      progress: output.progress,
    });
    output.document(machine);
    output.say(`machine of "${spec.name}" runs, sshd at ${machine.address}:${machine.port}`);
    return EXIT.held;
  },

  async destroy(call, output) {
    const slot = call.text("slot") ?? (await slotOf(call));
    await destroyMachine(slot, { keepData: call.flag("keep-data") });
    output.document({ slot, destroyed: true });
    output.say(`local machine ${slot} is gone`);
    return EXIT.held;
  },

  async status(call, output) {
    const rows = call.words.length === 1 ? await listMachines() : [await machineStatus(await slotOf(call))];
    output.document(rows);
    for (const line of table(
      rows.map((row) => [row.slot, row.state, row.state === "absent" ? "" : `${row.address}:${row.port}`]),
    ))
      output.say(line);
    return EXIT.held;
  },

  stop(call, output) {
    const stop = (slot: string) => {
      output.progress("powering off");
      return stopMachine(slot);
    };
    return change(call, output, stop, "stopped");
  },
  start: (call, output) =>
    change(call, output, (slot) => startMachine(slot, { progress: output.progress }), "running"),
  reboot: (call, output) =>
    change(call, output, (slot) => rebootMachine(slot, { progress: output.progress }), "running"),
};

async function change(
  call: Call,
  output: Output,
  action: (slot: string) => Promise<unknown>,
  state: string,
): Promise<number> {
  const slot = await slotOf(call);
  await action(slot);
  output.document({ slot, state });
  output.say(`local machine ${slot} is ${state}`);
  return EXIT.held;
}

/** The slot of the host named after the verb, from Terraform's state. */
async function slotOf(call: Call): Promise<string> {
  const name = call.words[1];
  if (name === undefined) throw new UsageError(`local ${call.words[0]} needs a host's name`);
  return (await readBindings(findHost(name))).machine.slot;
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
