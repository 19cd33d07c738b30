import { isDeepStrictEqual } from "node:util";
import { describe, expect, it } from "vitest";
import { JsonError, jsonFields, scalar, WatchedWords } from "../../../../runtime/host/model-gateway/json-fields.ts";

/** A small repeatable source of numbers below n. */
function source(seed: number) {
  let state = seed;
  return (n: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

const pieces = ['"', "\\", "{", "}", "[", "]", ",", ":", " ", "\n", "0", "1", "-", ".", "e", "E", "+", "true", "null"];
const more = [
  ...['"model"', '"a"', '\\"', "\\u0061", "\\u00", "\t", "\u0001", "é", '"x":1', "false", "tru", "01", "1.", "-0.5e-7"],
  ...['"Model":2,', '"\\u0061":[3],'],
];

function randomValue(next: (n: number) => number, depth: number): unknown {
  const kind = next(depth > 3 ? 5 : 7);
  if (kind === 0) return next(2) === 0;
  if (kind === 1) return null;
  if (kind === 2) return (next(2000) - 1000) / (next(7) + 1);
  if (kind === 3) return 'é"\\/\n\u2028\ud83d\ude00'.slice(0, next(9));
  if (kind === 4) return next(1_000_000) * 1e20;
  if (kind === 5) return Array.from({ length: next(4) }, () => randomValue(next, depth + 1));
  return Object.fromEntries(Array.from({ length: next(4) }, (_, i) => [`k${i}`, randomValue(next, depth + 1)]));
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

describe("jsonFields", () => {
  it("agrees with JSON.parse on what is a JSON object, and on its fields", () => {
    const next = source(7);
    let accepted = 0;
    let duplicates = 0;
    for (let round = 0; round < 20_000; round++) {
      let text = JSON.stringify({ model: "m", a: randomValue(next, 0), stream: next(2) === 0 });
      for (let changes = next(3); changes > 0; changes--) {
        const at = next(text.length + 1);
        const list = next(2) === 0 ? pieces : more;
        text = text.slice(0, at) + (list[next(list.length)] ?? "") + text.slice(at + next(3));
      }
      // half a surrogate pair is no UTF-8: compare what the bytes say
      const bytes = Buffer.from(text);
      const reference = parsed(bytes.toString());
      let fields: ReadonlyMap<string, readonly [number, number]> | undefined;
      try {
        fields = jsonFields(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(JsonError);
        if (reference !== undefined) {
          expect((error as Error).message, text).toContain("twice");
          duplicates++;
        }
        continue;
      }
      accepted++;
      const values = [...fields].map(([key, [start, end]]): [string, unknown] => [
        key,
        JSON.parse(bytes.subarray(start, end).toString()),
      ]);
      // one comparison a round: expect() is slow
      const same = reference !== undefined && isDeepStrictEqual(new Map(values), new Map(Object.entries(reference)));
      if (!same) expect(values, text).toEqual(reference);
    }
    expect(accepted).toBeGreaterThan(5_000);
    expect(duplicates).toBeGreaterThan(5);
  });

  it("refuses a key that occurs twice, however it is written", () => {
    for (const text of ['{"a":1,"a":1}', '{"a":1,"A":1}', '{"a":1,"\\u0061":1}', '{"":1,"":2}'])
      expect(() => jsonFields(Buffer.from(text)), text).toThrow(/twice/);
    expect([...jsonFields(Buffer.from('{"a":{"b":1,"b":2},"b":3}')).keys()]).toEqual(["a", "b"]);
  });

  it("does not unfold what it reads", () => {
    const wide = Buffer.from(`{"model":"m","x":[${"{},".repeat(2_500_000)}{}]}`);
    const before = process.memoryUsage().heapUsed;
    expect(jsonFields(wide).size).toBe(2);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(20e6);
    const keys = Array.from({ length: 257 }, (_, i) => `"k${i}":0`).join(",");
    expect(() => jsonFields(Buffer.from(`{${keys}}`))).toThrow(/more than 256/);
  });
});

describe("watched words", () => {
  const watched = new WatchedWords(["image", "file_id", "file"]);
  const found = (text: string) => {
    const { words, hides } = jsonFields(Buffer.from(text), watched);
    return [Object.fromEntries(words), hides];
  };

  it("are counted as whole strings, keys and values, at any depth", () => {
    expect(found('{"image":{"file_id":["image",{"image":1}]},"a":"file"}')).toEqual([
      { image: 3, file_id: 1, file: 1 },
      false,
    ]);
    expect(found('{"a":"an image","images":"\\"image\\"","imagE":"fil","ifile":"mage"}')).toEqual([{}, false]);
  });

  it("may hide where a letter is written as an escape, and only there", () => {
    expect(found('{"a":{"im\\u0061ge":1}}')).toEqual([{}, true]);
    expect(found('{"a":"file\\u005fid"}')).toEqual([{}, true]);
    expect(found('{"a":"inp\\u0075t"}')).toEqual([{}, true]);
    expect(found('{"a":"\\u003cfile\\u003e \\u00e9 \\\\u0061 \\n"}')).toEqual([{}, false]);
  });
});

describe("scalar", () => {
  it("decodes short scalars and nothing else", () => {
    const body = Buffer.from(`{"s":"\\u0061é","n":-1.5,"t":true,"z":null,"o":{},"l":[],"long":"${"x".repeat(1024)}"}`);
    const fields = jsonFields(body);
    expect(["s", "n", "t", "z", "o", "l", "long", "absent"].map((key) => scalar(body, fields, key))).toEqual([
      "aé",
      -1.5,
      true,
      null,
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });
});
