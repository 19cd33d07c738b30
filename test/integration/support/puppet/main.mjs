// An agent that does what it is told, as an agent does whose model was talked into it: `sh <command>` runs a command in
// its own sandbox ($0 is Node.js); `log <times> <text>` writes to its log; anything else goes to its model through the gateway.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const key = () => readFileSync(`${process.env.CREDENTIALS_DIRECTORY}/agent.puppet.virtual-key`, "utf8");

async function answer(text) {
  if (text.startsWith("sh "))
    return await new Promise((done) =>
      execFile("/bin/sh", ["-c", text.slice(3), process.execPath], { timeout: 60_000 }, (error, stdout, stderr) =>
        done({ content: `${stdout}${stderr}exit ${error === null ? 0 : (error.code ?? error.signal)}` }),
      ),
    );
  const [, times, line] = /^log (\d+) (.*)$/.exec(text) ?? [];
  if (times !== undefined) {
    for (let i = 0; i < Number(times); i++) console.log(line);
    return { content: "logged" };
  }
  const [, url = "http://127.0.0.1:4000/demo/v1/chat/completions", model = "demo"] =
    /^via (\S+) (\S+)/.exec(text) ?? [];
  const response = await fetch(url, {
    method: "POST",
    headers: { authorization: `Bearer ${key()}`, "content-type": "application/json" },
    body: JSON.stringify({ model, messages: [{ role: "user", content: text }] }),
  });
  const body = await response.json();
  return response.ok
    ? { content: body.choices[0].message.content, model: body.model }
    : { content: `HTTP ${response.status} ${JSON.stringify(body)}` };
}

const server = createServer((request, response) => {
  if (request.url === "/healthz") return response.end("ready\n");
  let body = "";
  request.on("data", (chunk) => {
    body += chunk;
  });
  request.on("end", async () => {
    response.setHeader("content-type", "application/json");
    try {
      const { content, model = "puppet" } = await answer(JSON.parse(body).messages.at(-1).content);
      response.end(JSON.stringify({ model, choices: [{ index: 0, message: { role: "assistant", content } }] }));
    } catch (error) {
      response.writeHead(502);
      response.end(
        JSON.stringify({ error: { message: `the model could not be asked: ${error.cause ?? error.message}` } }),
      );
    }
  });
});
server.listen(Number(process.env.BAILIWICK_PORT), "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
