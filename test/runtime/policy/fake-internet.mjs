// Stands for everything that an egress test may talk to, in a network namespace of its own: every address of that
// namespace answers TLS on 443 (with the name it was asked for), plain text on 22 and 80, and UDP on 443.
// Arguments: key file, certificate file, or the host's own plain ports:
// 22 is served on every address, the others on loopback. A folder named by REPOSITORIES is served to git below /git/; a
// WebSocket is taken, and says again what it is told.
import { createHash } from "node:crypto";
import dgram from "node:dgram";
import { existsSync, readFileSync, statSync } from "node:fs";
import net from "node:net";
import { networkInterfaces } from "node:os";
import { join, normalize } from "node:path";
import tls from "node:tls";

const [keyFile, certFile, ...loopback] = process.argv.slice(2);
const greet = (socket) => {
  socket.on("error", () => {});
  const name = typeof socket.servername === "string" ? socket.servername : "-";
  const body = `served by ${socket.localAddress?.replace("::ffff:", "")} as ${name}`;
  socket.once("data", (said) => {
    const request = said.toString("latin1");
    const path = /^GET \/git(\/[^ ?]*)/.exec(request)?.[1];
    if (path !== undefined) return sendFile(socket, path);
    const key = /^sec-websocket-key: (.*)\r$/im.exec(request)?.[1];
    if (key !== undefined) return takeWebSocket(socket, key, body);
    if (socket.listenerCount("data") === 0) socket.on("data", () => socket.write("."));
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
  });
};

function sendFile(socket, path) {
  const file = join(process.env.REPOSITORIES ?? "/nonexistent", normalize(path));
  const there = existsSync(file) && statSync(file).isFile();
  const content = there ? readFileSync(file) : Buffer.from("no such file");
  socket.write(
    `HTTP/1.1 ${there ? "200 OK" : "404 Not Found"}\r\nconnection: close\r\ncontent-length: ${content.length}\r\n\r\n`,
  );
  socket.end(content);
}

/** Frames of less than 126 bytes, each whole in one read. */
function takeWebSocket(socket, key, greeting) {
  const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
  );
  const send = (text) => socket.write(Buffer.concat([Buffer.from([0x81, text.length]), text]));
  send(Buffer.from(greeting));
  socket.on("data", (frame) => {
    if (frame[0] !== 0x81) return socket.end();
    const mask = frame.subarray(2, 6);
    send(Buffer.from(frame.subarray(6, 6 + (frame[1] & 0x7f)).map((byte, i) => byte ^ mask[i % 4])));
  });
}

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
