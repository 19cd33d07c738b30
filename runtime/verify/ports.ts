import { createSocket } from "node:dgram";
import { isIP, Socket } from "node:net";

/** How a port was met: `refused` by a reset or an ICMP answer, `silent` if nothing came back, `no way` if nothing could be sent. */
export type PortAnswer = "open" | "refused" | "silent" | "no way";

/** Longest wait for an answer, ms: a packet that is lost is sent again once meanwhile. */
const PATIENCE_MS = 2500;
const AGAIN_MS = 700;

/** A resolver answers this, most other services answer something, and a closed port's host answers that it is closed. */
const QUESTION = Buffer.from("000001000001000000000000076578616d706c6503636f6d0000010001", "hex");

const NO_WAY = new Set(["ENETUNREACH", "EAFNOSUPPORT", "EADDRNOTAVAIL", "ENETDOWN"]);
const REFUSED = new Set(["ECONNREFUSED", "ECONNRESET"]);

/**
 * Tries ports of an address from this machine, all at once; takes 2.5 s at the longest.
 * @param address an IPv4 or IPv6 address, never a name
 */
export async function tryPorts(
  protocol: "tcp" | "udp",
  address: string,
  ports: readonly number[],
): Promise<Map<number, PortAnswer>> {
  if (isIP(address) === 0) throw new Error(`received "${address}", which is no IP address`);
  const attempt = protocol === "tcp" ? tcp : udp;
  return new Map(await Promise.all(ports.map(async (port) => [port, await attempt(address, port)] as const)));
}

function answerOf(error: NodeJS.ErrnoException): PortAnswer {
  if (REFUSED.has(error.code ?? "")) return "refused";
  // an administrative "unreachable" of something on the way, or nobody at all: nothing of the host was met
  return NO_WAY.has(error.code ?? "") ? "no way" : "silent";
}

function tcp(host: string, port: number): Promise<PortAnswer> {
  return new Promise((resolve) => {
    const socket = new Socket();
    const done = (answer: PortAnswer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(PATIENCE_MS, () => done("silent"));
    socket.once("connect", () => done("open"));
    socket.once("error", (error) => done(answerOf(error)));
    socket.connect({ host, port });
  });
}

function udp(address: string, port: number): Promise<PortAnswer> {
  return new Promise((resolve) => {
    const socket = createSocket(isIP(address) === 6 ? "udp6" : "udp4");
    const timers: NodeJS.Timeout[] = [];
    let over = false;
    const done = (answer: PortAnswer) => {
      if (over) return;
      over = true;
      for (const timer of timers) clearTimeout(timer);
      socket.close();
      resolve(answer);
    };
    socket.on("error", (error) => done(answerOf(error)));
    socket.on("message", () => done("open"));
    // only a connected socket is told of an ICMP answer
    socket.connect(port, address, () => {
      const send = () => socket.send(QUESTION, (error) => error && done(answerOf(error)));
      send();
      timers.push(
        setTimeout(send, AGAIN_MS),
        setTimeout(() => done("silent"), PATIENCE_MS),
      );
    });
  });
}
