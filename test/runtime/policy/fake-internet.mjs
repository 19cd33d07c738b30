// Stands for everything that an egress test may talk to, in a network namespace of its own: every address of that
// namespace answers TLS on 443 (with the name it was asked for), plain text on 22 and 80, and UDP on 443.
// Arguments: key file, certificate file, or the host's own plain ports:
// 22 is served on every address, the others on loopback.
import dgram from "node:dgram";
import { readFileSync } from "node:fs";
import net from "node:net";
import { networkInterfaces } from "node:os";
import tls from "node:tls";

const [keyFile, certFile, ...loopback] = process.argv.slice(2);
const greet = (socket) => {
  socket.on("error", () => {});
  const name = typeof socket.servername === "string" ? socket.servername : "-";
  const body = `served by ${socket.localAddress?.replace("::ffff:", "")} as ${name}`;
  socket.once("data", () => {
    if (socket.listenerCount("data") === 0) socket.on("data", () => socket.write("."));
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
  });
};

const servers = [];
if (loopback.length > 0)
  for (const port of loopback)
    for (const host of port === "22" ? ["::"] : ["127.0.0.1", "::1"])
      servers.push([net.createServer(greet), Number(port), host]);
else {
  const pair = { key: readFileSync(keyFile), cert: readFileSync(certFile) };
  servers.push([tls.createServer(pair, greet), 443, "::"]);
  for (const port of [22, 80]) servers.push([net.createServer(greet), port, "::"]);
  // one socket per address, so that an answer comes from the address that was asked
  for (const { address, family, scopeid } of Object.values(networkInterfaces()).flat()) {
    if (scopeid) continue;
    const socket = dgram.createSocket(family === "IPv6" ? "udp6" : "udp4");
    socket.on("message", (_, from) => socket.send("pong", from.port, from.address));
    socket.bind(443, address);
  }
}
await Promise.all(
  servers.map(([server, port, host]) => new Promise((done) => server.listen({ port, host, ipv6Only: false }, done))),
);
process.stdout.write("ready\n");
