// An agent that says which release it is of, and behaves as its release says: well, never healthy, stubborn at its end, or
// crashing some seconds after its start. What it was told it keeps in its home.
import { appendFileSync, readFileSync } from "node:fs";
import { createServer } from "node:http";

const { VERSION, BEHAVIOUR = "well", HOME, BAILIWICK_PORT } = process.env;
const memory = `${HOME}/memory`;
const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, "http://agent");
  if (pathname === "/healthz") response.statusCode = BEHAVIOUR === "never healthy" ? 503 : 200;
  if (pathname === "/tell") appendFileSync(memory, `${searchParams.get("fact")}\n`);
  if (pathname === "/memory") return response.end(readFileSync(memory, "utf8"));
  response.end(VERSION);
});
server.listen(Number(BAILIWICK_PORT), "127.0.0.1");
process.on("SIGTERM", () => {
  if (BEHAVIOUR !== "stubborn") process.exit(0);
});
const crash = /^crashes after (\d+) s$/.exec(BEHAVIOUR);
if (crash) setTimeout(() => process.exit(1), Number(crash[1]) * 1000);
