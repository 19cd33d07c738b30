// A server of OpenAI's chat completions that repeats what it is told: where a real one would stand.
import { createServer } from "node:http";

const port = Number(process.argv.find((arg) => arg.startsWith("--port="))?.slice("--port=".length));

createServer(async (request, response) => {
  if (request.url === "/health") return response.end("ok");
  let text = "";
  for await (const chunk of request) text += chunk;
  const { model, messages, stream } = JSON.parse(text);
  const content = `you said: ${messages.at(-1).content}`;
  const usage = {
    prompt_tokens: text.length,
    completion_tokens: content.length,
    total_tokens: text.length + content.length,
  };
  const about = { id: "chatcmpl-1", created: 0, model };
  if (!stream) {
    const choices = [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }];
    response.setHeader("content-type", "application/json");
    return response.end(JSON.stringify({ ...about, object: "chat.completion", choices, usage }));
  }
  response.setHeader("content-type", "text/event-stream");
  const send = (part) =>
    response.write(`data: ${JSON.stringify({ ...about, object: "chat.completion.chunk", ...part })}\n\n`);
  for (const word of content.split(" "))
    send({ choices: [{ index: 0, delta: { role: "assistant", content: `${word} ` }, finish_reason: null }] });
  send({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] });
  send({ choices: [], usage });
  response.end("data: [DONE]\n\n");
}).listen(port, "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
