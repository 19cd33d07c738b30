// The resolver of a local machine's network, seen from its namespace. Run in a mount namespace of its own, so that the
// resolv.conf that pasta reads is this test's: arguments are the slot, the address of a
// resolver that it runs, and a directory.
import { execFileSync, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { namesOf } from "../../../runtime/local/slot.ts";
import { startUplink, stopUplink } from "../../../runtime/local/uplink.ts";

const [slot = "", resolver = "", directory = ""] = process.argv.slice(2);
const resolvConf = join(directory, "resolv.conf");
writeFileSync(resolvConf, `nameserver ${resolver}\n`);
execFileSync("mount", ["--bind", resolvConf, "/etc/resolv.conf"]);

const server = createSocket("udp4");
server.on("message", (question, from) => server.send(`answer to ${question}`, from.port, from.address));
await new Promise<void>((done) => server.bind(53, resolver, done));

const names = namesOf(slot);
await startUplink(names, slot);
const ask = `
  const socket = require("node:dgram").createSocket("udp4");
  setTimeout(() => { console.log("no answer"); process.exit(); }, 5000);
  socket.on("message", (text) => { console.log(String(text)); process.exit(); });
  socket.send("a question", 53, "10.77.0.1");
`;
const child = spawn("nsenter", [`--net=${names.netns}`, process.execPath, "-e", ask], { stdio: "inherit" });
await new Promise((done) => child.on("close", done));
await stopUplink(names);
server.close();
