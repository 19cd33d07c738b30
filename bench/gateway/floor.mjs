// The least that a proxy on these libraries can do: read a body, send it on, pass the answer through. Checks nothing.
import { createServer } from "node:http";
import { Pool } from "undici";

const pool = new Pool(process.argv[2], { connections: 256 });
const server = createServer((req, res) => {
  const chunks = [];
  req.on("data", (chunk) => chunks.push(chunk));
  req.on("end", () => {
    const headers = { "content-type": "application/json", authorization: "Bearer key-of-the-provider" };
    pool
      .stream({ path: "/v1/chat/completions", method: "POST", headers, body: Buffer.concat(chunks) }, (answer) => {
        res.writeHead(answer.statusCode, answer.headers);
        return res;
      })
      .catch(() => res.destroy());
  });
});
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
