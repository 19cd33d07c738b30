import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UsageMeter } from "../../../../runtime/host/model-gateway/usage-meter.ts";
import { ANTHROPIC_EVENTS, OPENAI_EVENTS } from "./test-upstream.ts";

type Kind = ConstructorParameters<typeof UsageMeter>[1];

/** The bytes in chunks that end at these places. */
function chunks(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...places].map((start, i) => bytes.subarray(start, places[i] ?? bytes.length));
}

function meter(kind: Kind, bytes: readonly Buffer[], whole = true, stream = true) {
  const found = new UsageMeter(kind === "messages" ? "anthropic" : "openai", kind, stream);
  for (const chunk of bytes) found.push(chunk);
  const used = found.read(whole);
  return used === null ? null : [used.tokens.input + used.tokens.cacheRead, used.tokens.output];
}

const usage = (input: number, output: number) => ({ prompt_tokens: input, completion_tokens: output });
const event = (document: unknown, end = "\n") => `data: ${JSON.stringify(document)}${end}${end}`;
const cuts = fc.array(fc.nat(), { maxLength: 40 });
const tokens = fc.nat(1_000_000);
const ending = fc.constantFrom("\n", "\r\n", "\r");
/** Text that looks like what the meter looks for. */
const content = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom(
    '"usage":{"prompt_tokens":0,"completion_tokens":0}',
    "\n\ndata: [DONE]\n\n",
    "message_stop",
    "\r\n\r\n",
  ),
);

describe("the usage meter", () => {
  it("reads chat completions on any borders of chunks, with any ends of lines, whatever the content looks like", () => {
    fc.assert(
      fc.property(
        tokens,
        tokens,
        fc.array(content),
        cuts,
        ending,
        fc.boolean(),
        (input, output, texts, at, end, bom) => {
          const deltas = texts.map((text) => event({ choices: [{ delta: { content: text } }], usage: null }, end));
          const last = event({ choices: [], usage: usage(input, output) }, end);
          const text = `${bom ? "\ufeff" : ""}: a comment${end}${deltas.join("")}${last}data: [DONE]${end}${end}`;
          expect(meter("chat", chunks(Buffer.from(text), at))).toEqual([input, output]);
        },
      ),
    );
  });

  it("reads messages so, and takes the last of what grows instead of a sum", () => {
    fc.assert(
      fc.property(tokens, fc.array(fc.nat(1000), { minLength: 1 }), cuts, ending, (input, steps, at, end) => {
        let output = 0;
        const named = (type: string, more: object) => `event: ${type}${end}${event({ type, ...more }, end)}`;
        const text = [
          named("message_start", { message: { usage: { input_tokens: input, output_tokens: 1 } } }),
          ...steps.map((step) => {
            output += step;
            return named("message_delta", { usage: { output_tokens: output } });
          }),
          named("message_stop", {}),
        ].join("");
        expect(meter("messages", chunks(Buffer.from(text), at))).toEqual([input, output]);
        expect(meter("messages", chunks(Buffer.from(text), at), false)).toEqual([input, output]);
      }),
    );
  });

  it("reads events that come one by one, or several at once, as providers send them", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1 });
    fc.assert(
      fc.property(tokens, tokens, fc.array(content), sizes, ending, (input, output, contents, groups, end) => {
        const events = [
          ...contents.map((text) => event({ choices: [{ delta: { content: text } }], usage: null }, end)),
          event({ choices: [], usage: usage(input, output) }, end),
          `data: [DONE]${end}${end}`,
        ];
        const parts: Buffer[] = [];
        for (let i = 0, at = 0; at < events.length; i++) {
          const size = groups[i % groups.length] ?? 1;
          parts.push(Buffer.from(events.slice(at, at + size).join("")));
          at += size;
        }
        expect(meter("chat", parts)).toEqual([input, output]);
      }),
    );
  });

  it("knows nothing of a stream that is cut anywhere before its terminal usage", () => {
    for (const [kind, events, terminal] of [
      ["chat", OPENAI_EVENTS, 4],
      ["messages", ANTHROPIC_EVENTS, 6],
    ] as const) {
      const bytes = Buffer.from(events.join(""));
      const complete = Buffer.from(events.slice(0, terminal).join("")).length;
      for (let length = 0; length < complete; length++)
        expect(meter(kind, [bytes.subarray(0, length)], false)).toBe(null);
      expect(meter(kind, [bytes.subarray(0, complete)], false)).toEqual([9, 2]);
    }
  });

  it("never throws and never invents, whatever comes", () => {
    fc.assert(
      fc.property(
        fc.constantFrom<Kind>("chat", "responses", "embeddings", "messages", "generate"),
        fc.array(fc.oneof(fc.uint8Array(), content.map(Buffer.from)), { maxLength: 30 }),
        fc.boolean(),
        fc.boolean(),
        (kind, parts, whole, stream) => {
          expect(meter(kind, parts.map(Buffer.from), whole, stream)).toBe(null);
        },
      ),
    );
  });

  it("never reads a count that is negative, broken, or no number", () => {
    const lie = fc.oneof(
      fc.integer({ max: -1 }),
      fc.double({ noInteger: true }),
      fc.string(),
      fc.constant(null),
      fc.constant([1]),
      fc.constant(1e300),
    );
    fc.assert(
      fc.property(lie, fc.boolean(), cuts, (bad, input, at) => {
        const lying = { ...usage(5, 5), [input ? "prompt_tokens" : "completion_tokens"]: bad };
        const bytes = Buffer.from(event({ choices: [], usage: lying }));
        expect(meter("chat", chunks(bytes, at))).toBe(null);
      }),
    );
  });

  it("doubts a count that shrinks, and takes one that is repeated", () => {
    const frames = (...outputs: number[]) => [
      Buffer.from(outputs.map((output) => event({ choices: [], usage: usage(5, output) })).join("")),
    ];
    expect(meter("chat", frames(7, 7))).toEqual([5, 7]);
    expect(meter("chat", frames(7, 1))).toBe(null);
    expect(meter("chat", [...frames(7), Buffer.from(event({ choices: [], usage: usage(-5, 7) }))])).toBe(null);
  });

  it("reads data that is spread over lines, and events without a last empty line", () => {
    const lines = JSON.stringify({ choices: [], usage: usage(3, 4) }, null, 1).split("\n");
    const data = lines.map((line) => Buffer.from(`data:${line}\n`));
    expect(meter("chat", [Buffer.concat(data)])).toEqual([3, 4]);
    expect(meter("chat", data)).toEqual([3, 4]);
  });

  it("gives up on an event larger than 16 MiB, and holds no more than that", () => {
    const found = new UsageMeter("openai", "chat", true);
    const chunk = Buffer.from(`data: ${"x".repeat(1024 * 1024)}`);
    for (let i = 0; i < 64; i++) found.push(chunk);
    found.push(Buffer.from(`\n\n${event({ choices: [], usage: usage(1, 1) })}`));
    expect(found.read(true)).toBe(null);
    expect(
      meter(
        "chat",
        Array.from({ length: 20 }, () => chunk),
        true,
        false,
      ),
    ).toBe(null);
  });
});
