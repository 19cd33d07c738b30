import { setTimeout as sleep } from "node:timers/promises";
import { type Bindings, isBinding } from "../spec/binding.ts";
import type { HostSpec } from "../spec/host-spec.ts";
import { type ConnectOptions, connect } from "../ssh/connect.ts";
import type { Connection } from "../ssh/connection.ts";
import { HostTrustError, UnreachableError } from "../ssh/errors.ts";
import type { Trust } from "../ssh/trust.ts";

/** The machine shows the one-time key of another instance: it was made again with a key that has been in state since. */
export class SpentKeyError extends Error {
  constructor(host: string, claimedBy: string, instance: string) {
    super(
      `${host}: the one-time host key was made for instance ${claimedBy}, this machine is ${instance}: the key is spent and proves nothing; ` +
        "nothing was sent\nrebuild the machine: raise `rebuild` of the machine in your stack and deploy",
    );
    this.name = "SpentKeyError";
  }
}

// First boot restarts sshd when it has hardened it, and whoever connects in that moment is hung up on.
const PAUSES_MS = [500, 1000, 2000];
// what took longer than a hang-up is not tried again
const AGAIN_WITHIN_MS = 10_000;

/**
 * Connects to a host that proves itself: by the one-time key of its first boot, as long as that key is this instance's
 * own, or by an admin's attestation of another. A connection that is hung up on at once is tried up to three times more.
 * @param options.spec with its bindings resolved
 * @throws SpentKeyError, HostTrustError (nothing was offered), UnreachableError, AuthenticationError
 */
export async function connectToHost(
  options: Omit<ConnectOptions, "trust"> & { spec: HostSpec; bindings: Bindings },
): Promise<Connection> {
  const { spec, bindings, ...rest } = options;
  const trust = hostTrust(spec, bindings);
  try {
    return await connectPatiently({ ...rest, trust });
  } catch (error) {
    const { bootstrap, machine } = bindings;
    if (error instanceof HostTrustError && trust.bootstrap === null && sameKey(error.shown, bootstrap.publicKey))
      throw new SpentKeyError(spec.name, bootstrap.claimedBy, machine.instance);
    throw error;
  }
}

async function connectPatiently(options: ConnectOptions): Promise<Connection> {
  const started = performance.now();
  for (const pause of PAUSES_MS)
    try {
      return await connect(options);
    } catch (error) {
      if (!(error instanceof UnreachableError) || performance.now() - started > AGAIN_WITHIN_MS) throw error;
      await sleep(pause);
    }
  return connect(options);
}

function hostTrust(spec: HostSpec, { bootstrap, machine }: Bindings): Trust & { kind: "bootstrap-or-attested" } {
  const admins: Record<string, string> = {};
  for (const [name, { publicKey }] of Object.entries(spec.access.admins)) {
    if (isBinding(publicKey)) throw new Error(`access.admins.${name}.publicKey: its binding was not resolved`);
    admins[name] = publicKey;
  }
  return {
    kind: "bootstrap-or-attested",
    bootstrap: bootstrap.claimedBy === machine.instance ? bootstrap.publicKey : null,
    attested: { admins, host: spec.name, instance: machine.instance },
  };
}

/** Whether two public key lines are of one key, whatever their comments. */
function sameKey(a: string | null, b: string): boolean {
  const key = (line: string) => line.split(" ").slice(0, 2).join(" ");
  return a !== null && key(a) === key(b);
}
