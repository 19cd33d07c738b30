import { readFileSync } from "node:fs";
import { BASELINE_PACKAGES, type Baseline, renderBaseline } from "../../cloud-init/baseline.ts";
import { isBinding } from "../spec/binding.ts";
import type { HostSpec } from "../spec/host-spec.ts";
import type { Connection } from "../ssh/connection.ts";
import { type Changes, changesOn, filesThatChange, retiredWays } from "./changes.ts";
import { type MachineFacts, readFacts } from "./facts.ts";
import { leaveOver } from "./leave.ts";
import { objectionsTo } from "./objections.ts";
import { type Actor, connectAfterReload, type Place, pinned } from "./place.ts";
import { rootShell } from "./root-shell.ts";

const ADOPT = readFileSync(new URL("./adopt.sh", import.meta.url), "utf8");
const RETIRE = readFileSync(new URL("./retire.sh", import.meta.url), "utf8");

/** The machine was left as it is: what stands against making a host of it, one line each. */
export class AdoptionRefusedError extends Error {
  readonly objections: readonly string[];
  constructor(host: string, objections: readonly string[], advice: string) {
    super(`${host}: the machine was left as it is\n${objections.map((one) => `  ${one}`).join("\n")}\n${advice}`);
    this.name = "AdoptionRefusedError";
    this.objections = objections;
  }
}

/** What was found on a machine, and what putting the baseline on it would change. */
export interface Survey {
  readonly facts: MachineFacts;
  readonly baseline: Baseline;
  readonly changes: Changes;
  readonly never: readonly string[];
  /** What else runs on it; in the way unless the spec says `adopt`. */
  readonly others: readonly string[];
}

/**
 * Looks at the machine and changes nothing.
 * @param spec of a host on an existing machine, its baseline that of this version of the kit
 * @throws Error if it is not; RemoteCommandError if root cannot be had
 */
export async function survey(connection: Connection, spec: HostSpec): Promise<Survey> {
  const { machine } = spec;
  if (machine.kind !== "existing")
    throw new Error(`host "${spec.name}" runs on a machine of kind ${machine.kind}, which is not an existing one`);
  const admin = firstAdmin(spec);
  const { user, dataDevice } = machine;
  const baseline = renderBaseline({ os: spec.os, admin, dataDevice });
  if (baseline.digest !== spec.baseline)
    throw new Error(
      `the spec wants baseline ${spec.baseline.slice(0, 12)}, this version of the kit makes ${baseline.digest.slice(0, 12)}; synthesise and deploy by one version`,
    );
  const paths = filesThatChange();
  const facts = await readFacts(connection, { device: dataDevice, packages: BASELINE_PACKAGES, paths });
  const admins = Object.fromEntries(Object.entries(spec.access.admins).map(([name, { uid }]) => [name, uid]));
  const objections = objectionsTo(facts, { os: spec.os, user, admins, dataDevice });
  return { facts, baseline, changes: changesOn(facts, baseline, admin), ...objections };
}

export interface AdoptOptions {
  /** A connection to the machine as `user` or as the first admin; stays open. */
  readonly connection: Connection;
  readonly spec: HostSpec;
  readonly place: Pick<Place, "address" | "hostKey" | "user">;
  readonly actor: Actor;
  readonly progress: (line: string) => void;
}

/**
 * Puts the baseline on a machine, by the files that first boot would be given. When that is done and the first admin is let
 * in, every other way in ends. If the admin is not let in, all of it is taken away again.
 * @returns what has changed; nothing if the baseline was on it, whole
 * @throws AdoptionRefusedError before anything is changed; RemoteCommandError with the step that failed: run it again
 */
export async function adopt({ connection, spec, place, actor, progress }: AdoptOptions): Promise<Changes> {
  const found = await survey(connection, spec);
  requireNoObjection(spec, found);
  const { facts, baseline, changes } = found;
  const first = firstAdmin(spec);
  if (actor.admin !== first.name)
    throw new Error(`the machine is taken by the first admin, "${first.name}"; the key at hand is of "${actor.admin}"`);
  const retired = retiredWays(facts, first.name);
  if (changes.files.length > 0 || changes.also.length > 0) {
    progress("putting the baseline on it");
    const [apply, sshd] = baseline.files;
    const encoded = (text: string) => Buffer.from(text).toString("base64");
    const saved = [...filesThatChange(), ...facts.keys.map(({ path }) => path), ...facts.sudoers, ...KEPT];
    const variables = {
      ...{ admin: first.name, uid: String(first.uid), key: first.publicKey },
      ...{ saved: saved.map((path) => path.slice(1)).join(" ") },
      ...{ apply: encoded(apply.content), sshd: encoded(sshd.content) },
    };
    const timeoutMs = spec.timeouts.baselineSeconds * 1000;
    await rootShell(connection, ADOPT, variables, "putting the baseline on the machine", timeoutMs);
  }
  progress(`proving that ${first.name} is let in`);
  const own = await provenLogin(connection, { place, actor });
  try {
    const variables = Object.fromEntries(Object.entries(retired).map(([name, all]) => [name, all.join(" ")]));
    await rootShell(own, RETIRE, variables, "ending other ways in");
  } finally {
    await own.close();
  }
  return changes;
}

/** Of others than the baseline: what the first push changes. */
const KEPT = ["/etc/cloud/cloud-init.disabled"];

async function provenLogin(
  connection: Connection,
  { place, actor }: { place: AdoptOptions["place"]; actor: Actor },
): Promise<Connection> {
  const { identity } = actor;
  try {
    const options = { host: place.address, identity, trust: pinned({ hostKey: connection.hostKey }) };
    return (await connectAfterReload([actor.admin], options)).connection;
  } catch (error) {
    await leaveOver(connection);
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`the first admin is not let in, so all of it was taken away again: ${why}`, { cause: error });
  }
}

function requireNoObjection({ name, machine }: HostSpec, { never, others, facts, baseline }: Survey): void {
  const taken = facts.baseline?.done === true && facts.baseline.digest === baseline.digest;
  if (never.length > 0) throw new AdoptionRefusedError(name, [...never, ...others], "each of these must be otherwise");
  if (others.length > 0 && !taken && machine.kind === "existing" && !machine.adopt)
    throw new AdoptionRefusedError(
      name,
      others,
      "a host is for its agents alone: use another machine or end these; or set adopt: true, and they go on behind its firewall",
    );
}

function firstAdmin({ access, name }: HostSpec): { name: string; uid: number; publicKey: string } {
  const admin = access.admins[access.bootstrapAdmin];
  if (admin === undefined || isBinding(admin.publicKey))
    throw new Error(`${name}: access.bootstrapAdmin: its key is not known; this is a defect of the kit`);
  return { name: access.bootstrapAdmin, uid: admin.uid, publicKey: admin.publicKey };
}
