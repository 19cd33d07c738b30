import { describe, expect, it } from "vitest";
import { KeyWatch } from "../../../../runtime/host/model-gateway/key-watch.ts";

const KEY = "sk-sksk-1234";

/** What a watch lets through of a text cut into these pieces, and whether it stopped. */
function through(pieces: readonly string[]): { text: string; stopped: boolean } {
  const watch = new KeyWatch(KEY);
  let text = "";
  for (const piece of pieces) {
    const passed = watch.pass(Buffer.from(piece));
    if (passed === null) return { text, stopped: true };
    text += passed.toString();
  }
  return { text: text + watch.rest().toString(), stopped: false };
}

describe("KeyWatch", () => {
  it("stops before the first byte of the key, wherever the chunks are cut", () => {
    const text = `sk-sk before ${KEY} after`;
    for (let i = 0; i <= text.length; i++)
      for (let j = i; j <= text.length; j++) {
        const result = through([text.slice(0, i), text.slice(i, j), text.slice(j)]);
        expect(result.stopped, `${i} ${j}`).toBe(true);
        expect("sk-sk before ".startsWith(result.text), `${i} ${j}: ${result.text}`).toBe(true);
      }
    expect(through([...text]).stopped).toBe(true);
    expect(through([...text]).text).toBe("sk-sk before ");
  });

  it("passes everything else byte for byte, also beginnings of the key", () => {
    for (const text of ["sk-sksk-123", "sk-sksksk-1235", "sk-", "", "ssssk-sk", "sk-sk-sksk-12 sk-sksk-1x"]) {
      expect(through([text])).toEqual({ text, stopped: false });
      expect(through([...text])).toEqual({ text, stopped: false });
    }
  });

  it("holds nothing back of a chunk that does not end like the key begins", () => {
    const chunk = Buffer.from("data: {}\n\n");
    expect(new KeyWatch(KEY).pass(chunk)).toBe(chunk);
  });
});
