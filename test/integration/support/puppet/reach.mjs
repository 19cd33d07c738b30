// Tries to reach a server, once: node reach.mjs <address or name> <port> [<TLS server name, or - for none>]
// Prints what it was served, or why not.
import { connect as tcp } from "node:net";
import { connect as tls } from "node:tls";

const [host, port, name] = process.argv.slice(2);
const options = { host, port: Number(port) };
const socket =
  name === undefined
    ? tcp(options)
    : tls({ ...options, rejectUnauthorized: false, ...(name === "-" ? {} : { servername: name }) });
const end = (text) => {
  console.log(text);
  process.exit();
};
setTimeout(() => end("refused: no answer in 5 s"), 5000);
socket.on(name === undefined ? "connect" : "secureConnect", () => socket.write("GET / HTTP/1.0\r\n\r\n"));
socket.on("data", (data) => end(String(data).split("\r\n\r\n").at(-1)));
socket.on("error", (error) => end(`refused: ${error.code}`));
socket.on("close", () => end("refused: closed"));
