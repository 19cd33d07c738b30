// The real sops for tests, in ~/.cache/bailiwick: built once from its Go module. Prints its path.
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { cachedSops, SOPS_VERSION } from "../test/runtime/release/cached-sops.ts";

/** @throws Error with what Go said, or naming Go if there is none */
async function buildSops(): Promise<string> {
  if (existsSync(cachedSops)) return cachedSops;
  const draft = resolve(cachedSops, `../draft.${process.pid}`);
  mkdirSync(draft, { recursive: true });
  const env = { ...process.env, CGO_ENABLED: "0", GOBIN: draft };
  const source = `github.com/getsops/sops/v3/cmd/sops@v${SOPS_VERSION}`;
  try {
    await new Promise<void>((done, fail) => {
      execFile("go", ["install", "-trimpath", "-ldflags=-s -w", source], { env }, (error, _stdout, stderr) => {
        if (error === null) return done();
        const reason = error.code === "ENOENT" ? "go is not installed here" : stderr.trim();
        fail(new Error(`${source} could not be built: ${reason}`));
      });
    });
    renameSync(join(draft, "sops"), cachedSops);
    return cachedSops;
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

buildSops().then(console.log, (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
