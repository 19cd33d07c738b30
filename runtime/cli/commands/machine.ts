import { readFileSync } from "node:fs";
import { adopt, survey } from "../../existing/adopt.ts";
import { leave } from "../../existing/leave.ts";
import { connectAsOneOf, Place, pinned } from "../../existing/place.ts";
import { drain } from "../../release/drain.ts";
import { connectToHost } from "../../release/host-trust.ts";
import { requireSecretsAtHand } from "../../release/secret-readers.ts";
import { Bindings, resolveBindings } from "../../spec/binding.ts";
import { type HostSpec, parseHostSpec } from "../../spec/host-spec.ts";
import type { Connection } from "../../ssh/connection.ts";
import { AuthenticationError, HostTrustError } from "../../ssh/errors.ts";
import { waitForSshBanner } from "../../ssh/reachability.ts";
import type { Call, Command } from "../command.ts";
import { EXIT, UsageError } from "../errors.ts";
import { type AdminIdentity, findIdentity } from "../identity.ts";
import type { Output } from "../output.ts";
import { findHost, projectRoot, readBindings } from "../project.ts";
import { machineAddress } from "../session.ts";

type ExistingSpec = HostSpec & { machine: { kind: "existing" } };

/** An opened machine, and how it is reached again. */
interface Opened {
  readonly spec: ExistingSpec;
  readonly place: Pick<Place, "address" | "hostKey" | "user">;
  readonly actor: AdminIdentity;
  readonly connection: Connection;
}

const verbs: Record<string, (call: Call, output: Output) => Promise<number>> = {
  async adopt(call, output) {
    const opened = call.flag("from-terraform") ? await atFirst(call) : await fromProject(hostOf(call));
    const { spec, connection } = opened;
    try {
      if (call.flag("dry-run")) return show(spec, await survey(connection, spec), output);
      const changes = await adopt({ ...opened, progress: output.progress });
      output.document(changes);
      const { length } = changes.files;
      output.say(
        length === 0
          ? `${spec.name}: the baseline was on the machine; nothing changed`
          : `${spec.name}: the baseline is on the machine (${length} files)`,
      );
      return EXIT.held;
    } finally {
      await connection.close();
    }
  },

  async leave(call, output) {
    if (!call.flag("from-terraform"))
      throw new UsageError("machine leave is a step of `npx cdktf destroy`, which is what to call");
    const place = placeFromTerraform();
    const { host, admins } = place;
    const actor = await findIdentity({ name: host, access: { admins: asAdmins(admins) } });
    const stays = await leave(place, actor, output.progress);
    output.document({ host, left: true, stays });
    output.say(`${host}: the machine is let go, and has its own host key again; the data volume is as it was`);
    for (const line of stays) output.say(`  stays: ${line}`);
    return EXIT.held;
  },

  /**
   * Before a cloud takes the machine away. A machine that cannot be reached, or is not known any more, keeps nobody from
   * destroying it: its volume is then taken off as by a power cut, which is said.
   */
  async drain(call, output) {
    const host = hostOf(call);
    const { BAILIWICK_BINDINGS: told, BAILIWICK_GENERATION: madeFrom } = process.env;
    const path = call.text("spec");
    if (!call.flag("from-terraform") || told === undefined || path === undefined)
      throw new UsageError("machine drain is a step of `npx cdktf deploy` and `destroy`, which are what to call");
    const bindings = Bindings.parse(JSON.parse(told));
    const spec = parseHostSpec(JSON.parse(readFileSync(path, "utf8")));
    // the code makes another machine than this one, which so is not only destroyed
    if (madeFrom !== call.text("generation")) await requireSecretsAtHand(spec, projectRoot());
    try {
      output.progress(`stopping what runs on ${host}, and unmounting its data volume`);
      // a binding that is newer than this machine is no reason to keep it
      await withConnection(parseHostSpec(resolveBindings(spec, bindings.values)), bindings, drain);
      output.say(`${host}: nothing runs, and its data volume is unmounted`);
    } catch (error) {
      output.say(`${host}: its data volume is taken off as by a power cut: ${(error as Error).message}`);
    }
    return EXIT.held;
  },
};

async function withConnection(spec: HostSpec, bindings: Bindings, body: (connection: Connection) => Promise<void>) {
  const { admin, identity } = await findIdentity(spec);
  const address = await machineAddress(bindings, spec.name);
  await waitForSshBanner({ ...address, timeoutMs: 15_000 });
  const connection = await connectToHost({ ...address, username: admin, identity, spec, bindings, timeoutMs: 30_000 });
  try {
    await body(connection);
  } finally {
    await connection.close();
  }
}

function show(spec: ExistingSpec, found: Awaited<ReturnType<typeof survey>>, output: Output): number {
  const { changes, never, others } = found;
  const inTheWay = [...never, ...(spec.machine.adopt ? [] : others)];
  output.document({ ...changes, never, others, refused: inTheWay.length > 0 });
  for (const { path, change, removed, added } of changes.files) {
    output.say(`${change}: ${path}`);
    for (const line of removed) output.say(`  - ${line}`);
    for (const line of added) output.say(`  + ${line}`);
  }
  for (const line of changes.also) output.say(`and: ${line}`);
  for (const line of never) output.say(`in the way: ${line}`);
  for (const line of others)
    output.say(`${spec.machine.adopt ? "goes on behind the firewall" : "in the way without adopt"}: ${line}`);
  if (changes.files.length + changes.also.length === 0)
    output.say(`${spec.name}: the baseline is on the machine; nothing would change`);
  return inTheWay.length === 0 ? EXIT.held : EXIT.failed;
}

/** A machine that the deploy is about to take, or has begun to: it shows its own host key, whoever is let in. */
async function atFirst(call: Call): Promise<Opened> {
  const place = placeFromTerraform();
  const path = call.text("spec");
  if (path === undefined) throw new UsageError("--from-terraform needs --spec, as Terraform sets it");
  const spec = existing(parseHostSpec(JSON.parse(readFileSync(path, "utf8"))));
  const known = { "machine.address": place.address, "machine.hostKey": place.hostKey };
  const admins = Object.entries(place.admins).map(([name, key]) => [`access.admins.${name}.publicKey`, key]);
  const machine = resolveBindings(spec.machine, known) as ExistingSpec["machine"];
  const access = { ...spec.access, admins: resolveBindings(spec.access.admins, Object.fromEntries(admins)) };
  return pinnedTo({ ...spec, machine, access: access as HostSpec["access"] }, place);
}

async function pinnedTo(spec: ExistingSpec, place: Opened["place"]): Promise<Opened> {
  const actor = await findIdentity(spec);
  const { address: host, user } = place;
  await waitForSshBanner({ host, timeoutMs: 30_000 });
  try {
    const options = { host, identity: actor.identity, trust: pinned(place) };
    const { connection } = await connectAsOneOf([user, spec.access.bootstrapAdmin], options);
    return { spec, place, actor, connection };
  } catch (error) {
    if (error instanceof AuthenticationError)
      error.message += `\nthe machine must let "${user}" in with the first admin's key, that of "${spec.access.bootstrapAdmin}"`;
    if (error instanceof HostTrustError)
      error.message += "\nif that is its real key, and you saw it there, write it as hostKey";
    throw error;
  }
}

/** A deployed host, else the machine that the code names. */
async function fromProject(name: string): Promise<Opened> {
  const host = findHost(name);
  const spec = existing(host.spec);
  const bindings = await readBindings(host).catch((error) => {
    if (error instanceof UsageError) return undefined;
    throw error;
  });
  if (bindings === undefined || bindings.machine.kind !== "remote") {
    const { address, hostKey, user } = spec.machine;
    if (typeof address !== "string" || typeof hostKey !== "string")
      throw new UsageError(`${name}: address or hostKey of the machine are known at apply only; deploy it first`);
    return pinnedTo(spec, { address, hostKey, user });
  }
  const resolved = existing(parseHostSpec(resolveBindings(host.spec, bindings.values)));
  const { address } = bindings.machine;
  const { user, hostKey } = resolved.machine;
  const actor = await findIdentity(resolved);
  const login = { host: address, username: actor.admin, identity: actor.identity };
  try {
    const connection = await connectToHost({ ...login, spec: resolved, bindings, timeoutMs: 30_000 });
    return { spec: resolved, place: { address, hostKey: bindings.bootstrap.publicKey, user }, actor, connection };
  } catch (error) {
    // a deploy has begun, and has not taken the machine
    if (!(error instanceof AuthenticationError) || typeof hostKey !== "string") throw error;
    return pinnedTo(resolved, { address, hostKey, user });
  }
}

function placeFromTerraform(): Place {
  const text = process.env.BAILIWICK_MACHINE;
  if (text === undefined)
    throw new UsageError("--from-terraform needs the environment variable BAILIWICK_MACHINE, as Terraform sets it");
  return Place.parse(JSON.parse(text));
}

function existing(spec: HostSpec): ExistingSpec {
  if (spec.machine.kind === "existing") return spec as ExistingSpec;
  throw new UsageError(
    `host "${spec.name}" runs on a machine of kind ${spec.machine.kind}, which is not an existing one`,
  );
}

/** Of an admin only the key counts where an identity is looked for. */
function asAdmins(keys: Readonly<Record<string, string>>): HostSpec["access"]["admins"] {
  return Object.fromEntries(Object.entries(keys).map(([name, publicKey]) => [name, { uid: 1000, publicKey }]));
}

function hostOf(call: Call): string {
  const name = call.words[1];
  if (name === undefined) throw new UsageError(`machine ${call.words[0]} needs a host's name`);
  return name;
}

export const machine: Command = {
  usage: "machine adopt <host> [--dry-run] [--json]",
  summary: "put the baseline on an existing machine, or say what that would change",
  options: {
    spec: { type: "string" },
    "from-terraform": { type: "boolean" },
    "dry-run": { type: "boolean" },
    generation: { type: "string" },
  },
  words: [2, 2],
  async run(call, output) {
    const name = call.words[0] ?? "";
    const verb = Object.hasOwn(verbs, name) ? verbs[name] : undefined;
    if (verb === undefined) throw new UsageError(`received "machine ${name}"; there is machine adopt`);
    return verb(call, output);
  },
};
