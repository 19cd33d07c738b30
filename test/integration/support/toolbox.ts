import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

/**
 * This machine's curl and git with all that they load, in a folder that works on another: a host's image has neither. Each
 * is a script of its own name.
 */
export function packTools(folder: string): void {
  const execPath = execFileSync("git", ["--exec-path"], { encoding: "utf8" }).trim();
  const programs = [which("curl"), which("git"), join(execPath, "git-remote-http")];
  const library = join(folder, "lib");
  mkdirSync(library, { recursive: true });
  for (const program of programs) {
    copy(program, join(folder, `${basename(program)}.bin`));
    const loaded = execFileSync("ldd", [program], { encoding: "utf8" });
    for (const [, file] of loaded.matchAll(/(\/\S+) \(0x/g))
      if (file !== undefined) copy(file, join(library, basename(file)));
  }
  for (const [name, of] of [
    ["curl", "curl"],
    ["git", "git"],
    ["git-remote-https", "git-remote-http"],
  ])
    script(
      join(folder, name ?? ""),
      `exec "$here/lib/ld-linux-x86-64.so.2" --library-path "$here/lib" "$here/${of}.bin" "$@"`,
    );
}

function which(program: string): string {
  return execFileSync("sh", ["-c", `readlink -f "$(command -v ${program})"`], { encoding: "utf8" }).trim();
}

function copy(from: string, to: string): void {
  copyFileSync(from, to);
  chmodSync(to, 0o755);
}

function script(path: string, line: string): void {
  writeFileSync(path, `#!/bin/sh\nhere=$(cd "\${0%/*}" && pwd)\nexport GIT_EXEC_PATH="$here"\n${line}\n`);
  chmodSync(path, 0o755);
}
