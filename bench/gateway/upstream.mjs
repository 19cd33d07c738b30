// The provider of the benchmark: one whole answer, or a stream of 50 events, each written by itself.
import { createServer } from "node:http";

const usage = { prompt_tokens: 400, completion_tokens: 50, total_tokens: 450 };
const whole = Buffer.from(
  JSON.stringify({
    ...{ id: "chatcmpl-1", object: "chat.completion", created: 1, model: "gpt-5.6", usage },
    choices: [{ index: 0, message: { role: "assistant", content: "x".repeat(400) }, finish_reason: "stop" }],
  }),
);
const event = (more) =>
  `data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "gpt-5.6", ...more })}\n\n`;
const events = [
  ...Array.from({ length: 49 }, () => event({ choices: [{ index: 0, delta: { content: "word " } }], usage: null })),
  `${event({ choices: [], usage })}data: [DONE]\n\n`,
].map((text) => Buffer.from(text));

const server = createServer((req, res) => {
  const chunks = [];
  req.on("data", (chunk) => chunks.push(chunk));
  req.on("end", () => {
    if (!Buffer.concat(chunks).includes('"stream":true')) {
      res.writeHead(200, { "content-type": "application/json", "content-length": whole.length }).end(whole);
      return;
    }
    res.writeHead(200, { "content-type": "text/event-stream" });
    let i = 0;
    const next = () => {
      if (i === events.length) return res.end();
      res.write(events[i++]);
      setImmediate(next);
    };
    next();
  });
});
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
