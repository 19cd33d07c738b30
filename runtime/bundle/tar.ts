import type { TreeEntry } from "../spec/tree.ts";

/** Every time in an archive: 2000-01-01T00:00:00Z. Fixed, and not 0, which some programs take for "no time". */
const ARCHIVE_TIME = 946684800;

const BLOCK = 512;

/**
 * The tar header block(s) of an entry: ustar, owner 0:0 without names, fixed time, mode 0755 or 0644; a name that
 * ustar has no room for goes into a pax record of the path alone. A file's content and `padding()` follow it.
 */
export function tarHeader(entry: TreeEntry): Buffer {
  const path = entry.type === "directory" ? `${entry.path}/` : entry.path;
  const target = entry.type === "link" ? entry.target : "";
  const split = splitPath(path);
  const records: [string, string][] = [];
  if (split === undefined) records.push(["path", path]);
  if (Buffer.byteLength(target) > 100) records.push(["linkpath", target]);
  const own = block({
    ...(split ?? { name: cut(path), prefix: "" }),
    mode: entry.type === "file" && !entry.executable ? 0o644 : entry.type === "link" ? 0o777 : 0o755,
    size: entry.type === "file" ? entry.bytes : 0,
    type: entry.type === "file" ? "0" : entry.type === "link" ? "2" : "5",
    target: cut(target),
  });
  if (records.length === 0) return own;
  const pax = Buffer.from(records.map(([key, value]) => paxRecord(key, value)).join(""));
  const head = block({ name: "pax", prefix: "", mode: 0o644, size: pax.length, type: "x", target: "" });
  return Buffer.concat([head, pax, padding(pax.length), own]);
}

/** What fills a file's content up to a whole block. */
export function padding(bytes: number): Buffer {
  return Buffer.alloc((BLOCK - (bytes % BLOCK)) % BLOCK);
}

/** What ends an archive. */
export function tarEnd(): Buffer {
  return Buffer.alloc(2 * BLOCK);
}

interface Header {
  readonly name: string;
  readonly prefix: string;
  readonly mode: number;
  readonly size: number;
  readonly type: "0" | "2" | "5" | "x";
  readonly target: string;
}

function block(header: Header): Buffer {
  const bytes = Buffer.alloc(BLOCK);
  const octal = (value: number, width: number) => `${value.toString(8).padStart(width - 1, "0")}\0`;
  bytes.write(header.name, 0);
  bytes.write(octal(header.mode, 8), 100);
  bytes.write(octal(0, 8), 108);
  bytes.write(octal(0, 8), 116);
  bytes.write(octal(header.size, 12), 124);
  bytes.write(octal(ARCHIVE_TIME, 12), 136);
  bytes.fill(" ", 148, 156); // the checksum counts itself as blanks
  bytes.write(header.type, 156);
  bytes.write(header.target, 157);
  bytes.write("ustar\x0000", 257);
  bytes.write(octal(0, 8), 329);
  bytes.write(octal(0, 8), 337);
  bytes.write(header.prefix, 345);
  const sum = bytes.reduce((a, b) => a + b, 0);
  bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return bytes;
}

/** ustar's two fields for a path, 155 bytes `/` 100 bytes, or undefined if it fits in no way. */
function splitPath(path: string): { name: string; prefix: string } | undefined {
  if (Buffer.byteLength(path) <= 100) return { name: path, prefix: "" };
  for (let at = path.indexOf("/"); at > 0; at = path.indexOf("/", at + 1)) {
    const prefix = path.slice(0, at);
    const name = path.slice(at + 1);
    if (name !== "" && Buffer.byteLength(prefix) <= 155 && Buffer.byteLength(name) <= 100) return { name, prefix };
  }
  return undefined;
}

function cut(text: string): string {
  return Buffer.from(text)
    .subarray(0, 100)
    .toString("latin1")
    .replace(/[^\x20-\x7e]/g, "_");
}

/** `<length of this whole record> key=value\n`, the length in decimal counting its own digits. */
function paxRecord(key: string, value: string): string {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + String(rest).length;
  length = rest + String(length).length;
  return `${length} ${key}=${value}\n`;
}
