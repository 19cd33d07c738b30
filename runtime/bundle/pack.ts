import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, readFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { TreeEntry } from "../spec/tree.ts";
import { padding, tarEnd, tarHeader } from "./tar.ts";

/** A packed component: `sha256` and `bytes` are the archive file's own. */
export interface Archive {
  readonly path: string;
  readonly sha256: string;
  readonly bytes: number;
}

// The bundled Node.js compresses, so that equal trees give equal archives whatever tools the operator's machine has.
// Level 9: OpenClaw's tree takes seconds, and higher levels gain a few percent for several times the work.
//
// Each chunk is awaited before the stream is ended: Node.js 24 adds an empty frame when the end is known before the last
// chunk is compressed, so that an archive's bytes would hang on timing.
const COMPRESS = `
const { once } = require("node:events");
const { createZstdCompress, constants } = require("node:zlib");
const params = { [constants.ZSTD_c_compressionLevel]: 9, [constants.ZSTD_c_checksumFlag]: 1 };
const zstd = createZstdCompress({ params, chunkSize: 1 << 20 });
zstd.pipe(process.stdout);
(async () => {
  for await (const chunk of process.stdin) await new Promise((done, fail) => zstd.write(chunk, (e) => e ? fail(e) : done()));
  zstd.end();
  await once(zstd, "end");
})().catch((error) => { console.error(error.message); process.exit(1); });`;

const BIG_FILE = 8 * 1024 * 1024;
const BATCH = 1024 * 1024;

/**
 * Packs a tree that `readTree` has listed into `into` (tar, zstd level 9).
 * @param node the bundled Node.js
 * @throws if a file is no longer what the listing says, naming it, or if the archive cannot be written
 */
export async function pack(
  folder: string,
  entries: readonly TreeEntry[],
  into: string,
  node: string,
): Promise<Archive> {
  const child = spawn(node, ["-e", COMPRESS], { stdio: ["pipe", "pipe", "pipe"], env: {} });
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint += text;
  });
  const ended = new Promise<void>((done, fail) => {
    child.on("error", fail);
    child.on("close", (code) =>
      code === 0 ? done() : fail(new Error(`compressing ${into} failed (exit ${code}): ${complaint.trim()}`)),
    );
  });
  const hash = createHash("sha256");
  let bytes = 0;
  const writing = pipeline(
    child.stdout,
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        bytes += chunk.length;
        yield chunk;
      }
    },
    createWriteStream(into),
  );
  const reading = pipeline(Readable.from(inBatches(tarStream(folder, entries))), child.stdin).catch((error) => {
    child.kill();
    throw error;
  });
  const results = await Promise.allSettled([reading, ended, writing]);
  for (const result of results) if (result.status === "rejected") throw result.reason;
  return { path: into, sha256: hash.digest("hex"), bytes };
}

async function* tarStream(folder: string, entries: readonly TreeEntry[]): AsyncGenerator<Buffer> {
  for (const entry of entries) {
    yield tarHeader(entry);
    if (entry.type !== "file") continue;
    const path = join(folder, entry.path);
    const hash = createHash("sha256");
    let bytes = 0;
    for await (const chunk of contentOf(path, entry.bytes)) {
      hash.update(chunk);
      bytes += chunk.length;
      yield chunk;
    }
    if (bytes !== entry.bytes || hash.digest("hex") !== entry.sha256)
      throw new Error(`"${path}" was changed while it was being packed; run again when nothing writes there`);
    yield padding(entry.bytes);
  }
  yield tarEnd();
}

/** Small pieces joined: a write per header and small file would cost more than compressing them. */
async function* inBatches(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let batch: Buffer[] = [];
  let bytes = 0;
  for await (const piece of pieces) {
    batch.push(piece);
    bytes += piece.length;
    if (bytes < BATCH) continue;
    yield Buffer.concat(batch);
    batch = [];
    bytes = 0;
  }
  yield Buffer.concat(batch);
}

async function* contentOf(path: string, bytes: number): AsyncGenerator<Buffer> {
  if (bytes <= BIG_FILE) yield readFileSync(path);
  else yield* createReadStream(path, { highWaterMark: 1024 * 1024 }) as AsyncIterable<Buffer>;
}
