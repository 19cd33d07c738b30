import type { Component } from "../bundle/component.ts";
import { quotaNotice } from "../policy/workspaces/quotas.ts";
import type { ActivateAnswer } from "../spec/activator.ts";
import { type Bindings, resolveBindings } from "../spec/binding.ts";
import { digestOf } from "../spec/digest.ts";
import { type HostSpec, parseHostSpec } from "../spec/host-spec.ts";
import { connect } from "../ssh/connect.ts";
import type { Connection } from "../ssh/connection.ts";
import type { Identity } from "../ssh/identity.ts";
import { rotateHostKey, rotationIsFinished } from "../ssh/rotate.ts";
import { uploadComponent } from "../ssh/upload.ts";
import { Activator } from "./activator-client.ts";
import { waitForBaseline } from "./baseline-wait.ts";
import { activateAndConfirm } from "./confirm.ts";
import { connectToHost } from "./host-trust.ts";
import { renderRelease } from "./render/release.ts";
import { sealCredentials } from "./seal.ts";

export interface PushOptions {
  /** The spec as synth wrote it; bindings in it are resolved by `bindings.values`. */
  spec: HostSpec;
  bindings: Bindings;
  address: { host: string; port: number };
  /** Key of one of the spec's admins, and that admin's name. */
  identity: Identity;
  admin: string;
  kitVersion: string;
  /** Whether the host is a machine that is emulated. */
  emulated: boolean;
  /** Builds, or finds in the cache, every component the spec needs. Started at once, beside connecting. */
  components: Promise<Record<string, Component>>;
  why: string;
  /** Folder that relative paths of the spec's secrets start from. */
  project: string;
  /** Credentials made on the host that are to be made anew, by name; default: none. */
  renew?: readonly string[];
  /** Done when the release lies ready on the host and nothing of it serves yet. Default: nothing. */
  beforeActivation?: () => Promise<void>;
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
 *   MissingSecretsError naming every secret that is neither here nor on the host; UnhealthyError, UnconfirmedError when the
 *   new release was taken back or will be
 */
export async function push(options: PushOptions): Promise<PushResult> {
  const { bindings, progress } = options;
  const spec = parseHostSpec(resolveBindings(options.spec, bindings.values));
  options.components.catch(() => {}); // awaited below, after the host is known to be ours
  const login = {
    ...options.address,
    ...{ username: options.admin, identity: options.identity, spec, bindings, timeoutMs: 30_000 },
  };
  let connection = await connectToHost(login);
  try {
    const uploads = uploadMissing(connection, options.components, spec.timeouts.baselineSeconds, progress);
    uploads.catch(() => {});
    // at first contact it has not begun
    const rotated = connection.contact === "first" ? Promise.resolve(false) : rotationIsFinished(connection);
    rotated.catch(() => {});
    // what first boot has yet to end, and the new host key, is time to read them in: under the lock they are known then, or
    // else looked at
    const looked = connection.contact === "first" ? lookAt(connection, uploads) : undefined;
    await waitForBaseline(connection, spec.baseline, spec.timeouts.baselineSeconds, progress);
    const { components, uploaded } = await uploads;
    if (!(await rotated)) {
      progress("replacing the one-time host key");
      connection = await rotate(connection, spec, options, looked);
    }
    const activator = activatorOf(connection, components);
    const result = await activator.withLock(options.admin, options.why, async (token, held) => {
      const repair = repairComponents(connection, held, token, components, progress);
      const [facts] = await Promise.all([held.facts(), repair]);
      const { credentials, generated, sealed } = await sealCredentials(held, spec, facts, options);
      const release = renderRelease({
        spec,
        kitVersion: options.kitVersion,
        components: digestsOf(components),
        credentials,
        generated,
        resolvers: facts.resolvers,
        ipv6Only: facts.ipv6Only ?? false,
        emulated: options.emulated,
      });
      const short = release.digest.slice(0, 12);
      progress(
        release.digest === facts.current ? `release ${short} is current already` : `activating release ${short}`,
      );
      const notice = quotaNotice(spec, facts.projectQuotas);
      if (notice !== null) progress(notice);
      await held.stage({ token, files: release.files });
      await options.beforeActivation?.();
      const answer = await activateAndConfirm({
        ...{ activator, activatorOn: (fresh: Connection) => activator.on(fresh), token, spec, progress },
        ...{ digest: release.digest, why: options.why, restoreState: false },
        reconnect: () => {
          progress("confirming over a fresh connection");
          return connectToHost(login);
        },
      });
      return { ...answer, sealed };
    });
    return { ...result, hostKey: connection.hostKey, uploaded, spec: digestOf(options.spec) };
  } finally {
    await connection.close();
  }
}

/** sshd takes ten sessions on a connection; most of a component's time is the host's, to check, unpack and flush it. */
const UPLOADS_AT_ONCE = 3;

/** Uploads what the host lacks, nothing of it secret. */
async function uploadMissing(
  connection: Connection,
  building: Promise<Record<string, Component>>,
  seconds: number,
  progress: (line: string) => void,
) {
  const [components, present] = await Promise.all([building, presentComponents(connection, seconds)]);
  // the largest first: the host unpacks it while the others come
  const missing = Object.values(components)
    .filter(({ digest }) => !present.includes(digest))
    .sort((a, b) => b.archive.bytes - a.archive.bytes);
  const uploaded: string[] = [];
  const lane = async () => {
    for (let next = missing.shift(); next !== undefined; next = missing.shift())
      if (await upload(connection, next, progress)) uploaded.push(next.name);
  };
  try {
    await Promise.all(Array.from({ length: UPLOADS_AT_ONCE }, lane));
  } finally {
    missing.length = 0; // after a failure no lane goes on to another
  }
  return { components, uploaded };
}

/** What receives a component may be among the packages that first boot has yet to fetch. */
const READY =
  "i=0; until sudo -n true && command -v zstd; do i=$((i+1)); [ $i -lt 10 ] && sleep 0.2 || sleep 1; done >/dev/null 2>&1";

/** Digests of what the host seems to have; whether it is whole is looked at under the lock. */
async function presentComponents(connection: Connection, seconds: number): Promise<string[]> {
  const list = `${READY}; ls /opt/bailiwick/components 2>/dev/null || true`;
  const { stdout } = await connection.exec(list, { timeoutMs: seconds * 1000 });
  return stdout.split("\n");
}

/** @returns whether the host lacked it */
async function upload(connection: Connection, component: Component, progress: (line: string) => void) {
  const { name, archive, digest } = component;
  const { outcome, sent, resumedAt } = await uploadComponent({
    connection,
    component: digest,
    archive,
    path: archive.path,
  });
  if (outcome === "present") return false;
  const resumed = resumedAt === 0 ? "" : `, resumed at ${(resumedAt / 1048576).toFixed(1)} MiB`;
  progress(`uploaded ${name} ${digest.slice(0, 12)} (${(sent / 1048576).toFixed(1)} MiB${resumed})`);
  return true;
}

/** Settles once the host has looked at what was uploaded, or cannot. */
async function lookAt(
  connection: Connection,
  uploads: Promise<{ components: Record<string, Component> }>,
): Promise<void> {
  try {
    const { components } = await uploads;
    await activatorOf(connection, components).look(Object.values(digestsOf(components)));
  } catch {
    // the push itself says what is wrong with it, or finds nothing wrong
  }
}

/** Under the lock, when nobody removes any: what is missing after all, or not whole any more, is sent again. */
async function repairComponents(
  connection: Connection,
  activator: Activator,
  token: string,
  components: Record<string, Component>,
  progress: (line: string) => void,
): Promise<void> {
  const { missing, spoiled } = await activator.check(token, Object.values(digestsOf(components)));
  for (const component of Object.values(components)) {
    if (spoiled.includes(component.digest)) progress(`${component.name} is not whole on the host; sending it again`);
    else if (!missing.includes(component.digest)) continue;
    await upload(connection, component, progress);
  }
}

function digestsOf(components: Record<string, Component>): Record<string, string> {
  return Object.fromEntries(Object.entries(components).map(([name, { digest }]) => [name, digest]));
}

async function rotate(
  connection: Connection,
  spec: HostSpec,
  options: PushOptions,
  beside: Promise<void> | undefined,
): Promise<Connection> {
  const rotated = await rotateHostKey({
    connection,
    ...(beside === undefined ? {} : { beside }),
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

function activatorOf(connection: Connection, components: Record<string, Component>): Activator {
  return new Activator(connection, digestIn(components, "node"), digestIn(components, "activator"));
}

function digestIn(components: Record<string, Component>, name: string): string {
  const found = components[name];
  if (found === undefined) throw new Error(`component ${name} was not built; this is a defect of the kit`);
  return found.digest;
}
