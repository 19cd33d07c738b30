import type { Algorithms, NextAuthHandler } from "ssh2";
import ssh2 from "ssh2";
import { Connection } from "./connection.ts";
import { AuthenticationError, UnreachableError } from "./errors.ts";
import { type Identity, loadCredential } from "./identity.ts";
import { HostJudge, type Trust } from "./trust.ts";

/** Where to connect, as whom, and whom to trust. */
export interface ConnectOptions {
  /** Name or address. */
  readonly host: string;
  /** TCP port; 22 by default. */
  readonly port?: number;
  readonly username: string;
  readonly identity: Identity;
  readonly trust: Trust;
  /** Longest time until the login has succeeded, milliseconds; 20000 by default. */
  readonly timeoutMs?: number;
}

// What both the kit's sshd and ssh2 have and nobody has broken; GCM first, since it is done in hardware and the
// prefix truncation attack does not reach it.
export const ALGORITHMS: Algorithms = {
  kex: ["curve25519-sha256", "curve25519-sha256@libssh.org"],
  cipher: ["aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com"],
  serverHostKey: ["ssh-ed25519"],
  compress: ["none"],
};

const KEEPALIVE_MS = 15_000;
const KEEPALIVES_MISSED = 4;

/**
 * Logs in. The credential is offered only to a host that `trust` recognises.
 * @throws HostTrustError if the host is not recognised: nothing was offered to it
 * @throws UnreachableError if the host does not answer in time or does not speak SSH as the kit does
 * @throws AuthenticationError if the identity cannot be used or the host does not accept it
 */
export async function connect(options: ConnectOptions): Promise<Connection> {
  const { host, port = 22, username, trust, timeoutMs = 20_000 } = options;
  const address = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const judge = new HostJudge(trust, address);
  const credential = await loadCredential(options.identity);
  const client = new ssh2.Client();
  const banner = (text: string) => judge.hear(text);
  client.on("banner", banner);

  const nextAuthentication = (
    methods: readonly string[] | null,
    next: (method: Parameters<NextAuthHandler>[0] | false) => void,
  ) => {
    // asks for the banner, offers nothing
    if (judge.contact === null && methods === null) return next({ type: "none", username });
    if (!judge.mayOffer()) return next(false);
    next(credential.offer(username));
  };

  return await new Promise<Connection>((resolve, reject) => {
    const fail = (error: Error) => {
      client.removeAllListeners();
      // ssh2 may still report the end of what we end here
      client.on("error", () => {});
      client.destroy();
      reject(error);
    };
    client.on("error", (error) =>
      fail(judge.failure ?? explain(error, address, username, judge.offered, credential.fingerprint)),
    );
    client.on("close", () =>
      fail(judge.failure ?? new UnreachableError(`${address} closed the connection before the login`)),
    );
    client.on("ready", () => {
      const { contact, hostKey } = judge;
      // a host may accept `none`, or say it accepted something never sent
      if (contact === null || hostKey === null || !judge.offered) judge.refuseEarlyWelcome();
      if (judge.failure !== null || contact === null || hostKey === null)
        return fail(judge.failure ?? new UnreachableError(address));
      client.removeAllListeners();
      resolve(new Connection(client, { address, hostKey, contact, rekeyProblem: () => judge.failure }));
    });
    client.connect({
      host,
      port,
      username,
      algorithms: ALGORITHMS,
      hostVerifier: judge.verifier(),
      authHandler: (methods, _partial, next) =>
        nextAuthentication(methods, next as (method: Parameters<NextAuthHandler>[0] | false) => void),
      readyTimeout: timeoutMs,
      keepaliveInterval: KEEPALIVE_MS,
      keepaliveCountMax: KEEPALIVES_MISSED,
    });
  });
}

function explain(
  error: Error & { level?: string },
  address: string,
  username: string,
  offered: boolean,
  fingerprint: string,
): Error {
  if (error.level === "client-authentication" || (offered && /authentication failures/i.test(error.message)))
    return new AuthenticationError(`${address} did not accept user "${username}" with key ${fingerprint}`, {
      cause: error,
    });
  if (error.level === "agent")
    return new AuthenticationError(`ssh-agent did not sign with ${fingerprint}: ${error.message}`, { cause: error });
  if (error.level === "client-timeout")
    return new UnreachableError(`${address} did not let us in within the time: ${error.message}`, { cause: error });
  return new UnreachableError(`cannot reach ${address}: ${error.message}`, { cause: error });
}
