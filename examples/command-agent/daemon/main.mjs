import { createServer } from "node:http";

// An agent in one file: ready within a second, it answers chat completions itself.
const server = createServer((request, response) => {
  if (request.method === "GET" && request.url === "/healthz") return response.end("ready\n");
  if (request.method !== "POST" || request.url !== "/v1/chat/completions") return response.writeHead(404).end();
  let body = "";
  request.on("data", (chunk) => {
    body += chunk;
  });
  request.on("end", () => {
    const last = JSON.parse(body).messages?.at(-1)?.content ?? "";
    const message = { role: "assistant", content: `${process.env.GREETING}, you said: ${last}` };
    response.setHeader("content-type", "application/json");
    response.end(
      JSON.stringify({
        object: "chat.completion",
        model: "echo",
        choices: [{ index: 0, message, finish_reason: "stop" }],
      }),
    );
  });
});
server.listen(Number(process.env.BAILIWICK_PORT), "127.0.0.1");
process.on("SIGTERM", () => server.close(() => process.exit(0)));
