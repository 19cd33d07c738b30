import { machineStatus } from "../local/machine.ts";
import { connectToHost } from "../release/host-trust.ts";
import { type Bindings, resolveBindings } from "../spec/binding.ts";
import { type HostSpec, parseHostSpec } from "../spec/host-spec.ts";
import type { Connection } from "../ssh/connection.ts";
import { UnreachableError } from "../ssh/errors.ts";
import { findIdentity } from "./identity.ts";
import { instanceConnectTunnel } from "./instance-connect.ts";
import { findHost, type ProjectHost, readBindings } from "./project.ts";

export interface HostSession {
  host: ProjectHost;
  /** The spec with its bindings resolved. */
  spec: HostSpec;
  bindings: Bindings;
  address: { host: string; port: number };
  admin: string;
  connection: Connection;
}

/**
 * Where a machine's sshd is reached.
 * @throws UnreachableError if the machine does not run, saying how to start it
 */
export async function machineAddress(bindings: Bindings, name: string): Promise<{ host: string; port: number }> {
  const { machine } = bindings;
  if (machine.kind === "remote") return { host: machine.address, port: 22 };
  if (machine.kind === "instance-connect") return instanceConnectTunnel(machine.instance);
  const status = await machineStatus(machine.slot, machine.instance);
  if (status.state !== "running") throw new UnreachableError(notRunning(name, machine.slot, status.state));
  return { host: status.address, port: status.port };
}

/** What to say of a local machine that does not run. */
export function notRunning(name: string, slot: string, state: "absent" | "stopped"): string {
  return state === "absent"
    ? `${name}: its local machine is not on this computer (slot ${slot}); run cdktf deploy`
    : `${name}: its local machine is stopped; run \`bailiwick local start ${name}\``;
}

/**
 * A connection to a deployed host, its key attested by an admin of the spec before anything was offered.
 * @throws UsageError, HostTrustError, UnreachableError
 */
export async function openHost(name: string): Promise<HostSession> {
  const host = findHost(name);
  const bindings = await readBindings(host);
  const spec = parseHostSpec(resolveBindings(host.spec, bindings.values));
  const { admin, identity } = await findIdentity(spec);
  const address = await machineAddress(bindings, name);
  const connection = await connectToHost({ ...address, username: admin, identity, spec, bindings, timeoutMs: 30_000 });
  return { host, spec, bindings, address, admin, connection };
}

/** Runs `body` with a connection that is closed afterwards. */
export async function withHost<T>(name: string, body: (session: HostSession) => Promise<T>): Promise<T> {
  const session = await openHost(name);
  try {
    return await body(session);
  } finally {
    await session.connection.close();
  }
}
