import ssh2 from "ssh2";
import { ALGORITHMS, type ConnectOptions, connect } from "./connect.ts";
import { AuthenticationError, UnreachableError } from "./errors.ts";
import { loadCredential } from "./identity.ts";
import { HostJudge, type PinnedTrust } from "./trust.ts";

/** What a host answered to what it must refuse. */
export interface UnwantedAnswers {
  /** Ways to log in that the host offers. */
  readonly methods: readonly string[];
  /** Whether it took a password that is nobody's. */
  readonly password: boolean;
  /** What it would forward, by kind: `direct-tcpip`, `direct-streamlocal`, `tcpip-forward`. */
  readonly forwarded: readonly string[];
}

export type UnwantedOptions = Omit<ConnectOptions, "trust"> & { readonly trust: PinnedTrust };

/**
 * Asks a host for what it must refuse, all in one connection that logs in in the end, so that sshd counts no failed login
 * against this address.
 * @throws HostTrustError, UnreachableError, AuthenticationError as `connect` does
 */
export async function tryUnwanted(options: UnwantedOptions): Promise<UnwantedAnswers> {
  const { host, port = 22, username, trust, timeoutMs = 20_000 } = options;
  const judge = new HostJudge(trust, `${host}:${port}`);
  const credential = await loadCredential(options.identity);
  const client = new ssh2.Client();
  let methods: readonly string[] = [];
  let password = false;
  const offers = ["none", "password", "publickey"];
  try {
    await new Promise<void>((resolve, reject) => {
      client.on("ready", resolve);
      client.on("error", (error) => {
        const refused = (error as { level?: string }).level === "client-authentication";
        reject(
          judge.failure ??
            (refused
              ? new AuthenticationError(`${host}:${port} did not accept user "${username}"`, { cause: error })
              : new UnreachableError(`cannot reach ${host}:${port}: ${error.message}`, { cause: error })),
        );
      });
      client.connect({
        host,
        port,
        username,
        algorithms: ALGORITHMS,
        hostVerifier: judge.verifier(),
        readyTimeout: timeoutMs,
        authHandler: (left, _partial, give) => {
          const next = give as (method: Parameters<typeof give>[0] | false) => void;
          const offer = offers.shift();
          if (judge.failure !== null || offer === undefined) return next(false);
          // nobody's password: taken at all only if the host takes any
          if (offer === "password") {
            methods = left ?? [];
            password = true;
            return next({ type: "password", username, password: "not-a-password" });
          }
          if (offer === "publickey") {
            password = false;
            return next(credential.offer(username));
          }
          return next({ type: "none", username });
        },
      });
    });
    return { methods, password, forwarded: await forwarded(client) };
  } finally {
    client.on("error", () => {});
    client.end();
  }
}

/** SSH_OPEN_ADMINISTRATIVELY_PROHIBITED. */
const PROHIBITED = 1;

async function forwarded(client: ssh2.Client): Promise<string[]> {
  const outcome = (start: (done: (error: Error | undefined) => void) => void) =>
    new Promise<{ open: boolean; reason: unknown }>((resolve) =>
      start((error) => resolve({ open: error === undefined, reason: (error as { reason?: unknown })?.reason })),
    );
  const direct = await outcome((done) => client.forwardOut("127.0.0.1", 0, "127.0.0.1", 22, done));
  // a socket that is there and open to all: sshd answers alike to what it does not forward and what it cannot reach
  const socket = await outcome((done) => client.openssh_forwardOutStreamLocal("/run/dbus/system_bus_socket", done));
  const back = await outcome((done) => client.forwardIn("127.0.0.1", 0, done));
  return [
    // any other failure than `prohibited` means that it tried
    ...(direct.open || direct.reason !== PROHIBITED ? ["direct-tcpip"] : []),
    ...(socket.open ? ["direct-streamlocal"] : []),
    ...(back.open ? ["tcpip-forward"] : []),
  ];
}

/**
 * Whether the host lets this user in with this identity.
 * @throws HostTrustError, UnreachableError as `connect` does
 */
export async function letsIn(options: ConnectOptions): Promise<boolean> {
  try {
    const connection = await connect(options);
    await connection.close();
    return true;
  } catch (error) {
    if (error instanceof AuthenticationError) return false;
    throw error;
  }
}
