// The least that a Node.js server takes to start.
import { createServer } from "node:http";

const server = createServer((_, res) => res.end());
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
