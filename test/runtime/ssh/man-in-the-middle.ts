import { readFileSync } from "node:fs";
import type { AddressInfo, Socket } from "node:net";
import type { ServerConfig } from "ssh2";
import ssh2 from "ssh2";

/** A server of the attacker's: it shows a key, perhaps a stolen banner, and writes down what it was offered. */
export interface ManInTheMiddle {
  readonly port: number;
  /** Authentication methods clients asked for, with the public key where one was shown. */
  readonly attempts: { method: string; key?: string }[];
  /** Commands clients tried to run. */
  readonly commands: string[];
  stop(): Promise<void>;
}

export async function startManInTheMiddle(options: {
  /** Path of the attacker's own host key. */
  hostKey: string;
  banner?: string;
  /** Let everybody in who only asks. */
  acceptNone?: boolean;
  /** Show this public key blob as the host key, without having its private key. */
  pretendToBe?: Buffer;
}): Promise<ManInTheMiddle> {
  const attempts: ManInTheMiddle["attempts"] = [];
  const commands: string[] = [];
  const own = ssh2.utils.parseKey(readFileSync(options.hostKey));
  if (own instanceof Error) throw own;
  const shown =
    options.pretendToBe === undefined
      ? own
      : Object.create(own, { getPublicSSH: { value: () => options.pretendToBe } });
  const config: ServerConfig = { hostKeys: [{ key: shown }] };
  const clients = new Set<{ end(): unknown }>();
  const server = new ssh2.Server(config, (client) => {
    clients.add(client);
    // not by the `banner` option, which adds a line end: a replay has the bytes of the original
    if (options.banner !== undefined) Reflect.get(client, "_protocol")._banner = options.banner;
    client.on("error", () => {});
    client.on("authentication", (context) => {
      attempts.push({
        method: context.method,
        ...(context.method === "publickey" ? { key: context.key.data.toString("base64") } : {}),
      });
      if (context.method === "publickey" || (context.method === "none" && options.acceptNone)) context.accept();
      else context.reject(["publickey"]);
    });
    client.on("session", (accept) => {
      accept().on("exec", (acceptExec, _reject, info) => {
        commands.push(info.command);
        // start and end of the command arrive together
        const socket: Socket = Reflect.get(client, "_sock");
        socket.cork();
        const channel = acceptExec();
        channel.exit(0);
        channel.end();
        setImmediate(() => socket.uncork());
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    attempts,
    commands,
    stop: () =>
      new Promise((resolve) => {
        for (const client of clients) client.end();
        server.close(() => resolve());
      }),
  };
}
