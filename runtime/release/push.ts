import type { Component } from "../bundle/component.ts";
import type { ActivateAnswer, HostFacts } from "../spec/activator.ts";
import { type Bindings, resolveBindings } from "../spec/binding.ts";
import { digestOf } from "../spec/digest.ts";
import { type HostSpec, parseHostSpec } from "../spec/host-spec.ts";
import { connect } from "../ssh/connect.ts";
import type { Connection } from "../ssh/connection.ts";
import type { Identity } from "../ssh/identity.ts";
import { rotateHostKey, rotationIsFinished } from "../ssh/rotate.ts";
import { uploadComponent } from "../ssh/upload.ts";
import { Activator, HostError } from "./activator-client.ts";
import { waitForBaseline } from "./baseline-wait.ts";
import { connectToHost } from "./host-trust.ts";
import { renderRelease } from "./render/release.ts";
import { requiredCredentials } from "./render/requirements.ts";
import { resolveSecret } from "./secrets.ts";

export interface PushOptions {
  /** The spec as synth wrote it; bindings in it are resolved by `bindings.values`. */
  spec: HostSpec;
  bindings: Bindings;
  address: { host: string; port: number };
  /** Key of one of the spec's admins, and that admin's name. */
  identity: Identity;
  admin: string;
  kitVersion: string;
  /** Builds, or finds in the cache, every component the spec needs. Started at once, beside connecting. */
  components: Promise<Record<string, Component>>;
  why: string;
  /** Folder that relative paths of the spec's secrets start from. */
  project: string;
  progress: (line: string) => void;
}

export interface PushResult extends ActivateAnswer {
  hostKey: string;
  uploaded: string[];
  sealed: string[];
  spec: string;
}

/**
 * Makes a host what its spec says, step by step as they stand below. Each step either holds or leaves what was there;
 * running it again repairs.
 * @throws HostTrustError, UnreachableError before anything was sent; BaselineError, HostError with the host's own words;
 *   MissingSecretsError naming every secret that is neither here nor on the host
 */
export async function push(options: PushOptions): Promise<PushResult> {
  const { bindings, progress } = options;
  const spec = parseHostSpec(resolveBindings(options.spec, bindings.values));
  options.components.catch(() => {}); // awaited below, after the host is known to be ours
  let connection = await connectToHost({
    ...options.address,
    username: options.admin,
    identity: options.identity,
    spec,
    bindings,
    timeoutMs: 30_000,
  });
  try {
    const uploads = uploadMissing(connection, options.components, progress);
    uploads.catch(() => {});
    await waitForBaseline(connection, spec.baseline, spec.timeouts.baselineSeconds);
    const { components, uploaded } = await uploads;
    if (connection.contact === "first" || !(await rotationIsFinished(connection))) {
      progress("replacing the one-time host key");
      connection = await rotate(connection, spec, options);
    }
    const activator = new Activator(connection, digestIn(components, "node"), digestIn(components, "activator"));
    const result = await activator.withLock(`${options.admin}`, options.why, async (token) => {
      const facts = await activator.facts();
      const { credentials, generated, sealed } = await sealCredentials(activator, spec, facts, options);
      const release = renderRelease({
        spec,
        kitVersion: options.kitVersion,
        components: Object.fromEntries(Object.entries(components).map(([name, { digest }]) => [name, digest])),
        credentials,
        generated,
        resolvers: facts.resolvers,
      });
      progress(
        release.digest === facts.current
          ? `release ${release.digest.slice(0, 12)} is current already`
          : `activating release ${release.digest.slice(0, 12)}`,
      );
      await activator.stage({ token, files: release.files });
      const answer = await activator.activate({
        token,
        digest: release.digest,
        healthSeconds: spec.timeouts.healthSeconds,
      });
      return { ...answer, sealed };
    });
    if (!result.healthy) throw new UnhealthyError(result);
    return { ...result, hostKey: connection.hostKey, uploaded, spec: digestOf(options.spec) };
  } finally {
    await connection.close();
  }
}

/** The new release did not become healthy and was undone; what served before serves again. */
export class UnhealthyError extends Error {
  readonly answer: ActivateAnswer;
  constructor(answer: ActivateAnswer) {
    const kept =
      answer.previous === null
        ? "there was none before, the host is closed"
        : `release ${answer.previous.slice(0, 12)} serves again`;
    super(`the new release did not become healthy and was undone; ${kept}\n${answer.problems.join("\n")}`);
    this.name = "UnhealthyError";
    this.answer = answer;
  }
}

export class MissingSecretsError extends Error {
  constructor(missing: readonly string[]) {
    super(`${missing.join("\n")}\nset what is missing and push again; nothing was changed`);
    this.name = "MissingSecretsError";
  }
}

/** Uploads what the host lacks, nothing of it secret. */
async function uploadMissing(
  connection: Connection,
  building: Promise<Record<string, Component>>,
  progress: (line: string) => void,
) {
  const components = await building;
  const uploaded: string[] = [];
  for (const [name, component] of Object.entries(components)) {
    const { archive, digest } = component;
    const { outcome, sent } = await uploadComponent({ connection, component: digest, archive, path: archive.path });
    if (outcome === "present") continue;
    uploaded.push(name);
    progress(`uploaded ${name} ${digest.slice(0, 12)} (${(sent / 1048576).toFixed(1)} MiB)`);
  }
  return { components, uploaded };
}

async function rotate(connection: Connection, spec: HostSpec, options: PushOptions): Promise<Connection> {
  const rotated = await rotateHostKey({
    connection,
    host: spec.name,
    instance: options.bindings.machine.instance,
    admin: options.admin,
    identity: options.identity,
    reconnect: (trust) =>
      connect({ ...options.address, username: options.admin, identity: options.identity, trust, timeoutMs: 30_000 }),
    progress: options.progress,
  });
  return rotated.connection;
}

/**
 * Sends the secrets that are at hand; for those that are not, what the host has is kept.
 * @throws MissingSecretsError before anything was sent
 */
export async function sealCredentials(
  activator: Activator,
  spec: HostSpec,
  facts: Pick<HostFacts, "credentials">,
  { project, progress }: Pick<PushOptions, "project" | "progress">,
) {
  const required = requiredCredentials(spec);
  const set: Record<string, string> = {};
  const kept: Record<string, string> = {};
  const missing: string[] = [];
  for (const name of required.secrets) {
    const source = spec.secrets[name]?.source;
    if (source === undefined) throw new HostError("seal", `secrets.${name}: no such secret in the spec`);
    const credential = `secret.${name}`;
    const resolved = await resolveSecret(source, project);
    const known = facts.credentials[credential];
    if (resolved.ok) set[credential] = resolved.value.toString("base64");
    else if (known !== undefined) kept[credential] = known;
    else missing.push(`secrets.${name}: ${resolved.reason}, and the host does not have it yet`);
  }
  if (missing.length > 0) throw new MissingSecretsError(missing);
  const { versions, generated } = await activator.seal({ set, generate: required.generated });
  const sealed = Object.keys(versions).filter((name) => facts.credentials[name] !== versions[name]);
  if (sealed.length > 0) progress(`sealed ${sealed.join(", ")}`);
  return { credentials: { ...kept, ...versions }, generated, sealed };
}

function digestIn(components: Record<string, Component>, name: string): string {
  const found = components[name];
  if (found === undefined) throw new Error(`component ${name} was not built; this is a defect of the kit`);
  return found.digest;
}
