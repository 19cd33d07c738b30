// Runs a TypeScript program by tsx, to its end: node run-typescript.mjs <file>. Below Node.js 24.11.1 tsx reads files in a
// thread for which the main one waits, and once in some thousand starts both wait for ever (nodejs/node#50948). Such a
// process uses no processor time; it is ended, and started once more.
import { spawnSync } from "node:child_process";

const STARTS = 2;
const LONGEST_MS = 30_000;

for (let start = 1; ; start++) {
  const args = ["--import", "tsx", ...process.argv.slice(2)];
  const { status, signal, error } = spawnSync(process.execPath, args, {
    stdio: "inherit",
    timeout: LONGEST_MS,
    killSignal: "SIGKILL",
  });
  if (error?.code === "ETIMEDOUT" && start < STARTS) {
    console.error(`${args.join(" ")} did not end within ${LONGEST_MS / 1000} s; once more`);
    continue;
  }
  if (error !== undefined && error.code !== "ETIMEDOUT") throw error;
  process.exit(status ?? (signal === null ? 1 : 124));
}
