import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { Results, timed } from "../results.ts";

// What synth costs for 1, 10, 100 and 1000 Hetzner hosts in one stack, beside the same resources made by cdktf alone.

interface Run {
  readonly cpu: number;
  readonly mb: number;
  readonly resources: number;
  /** From the start of the process to its end. */
  readonly seconds: number;
}

async function run(kind: "hosts" | "raw", n: number): Promise<Run> {
  const app = join(import.meta.dirname, "app.ts");
  const args = ["--import", "tsx", app, kind, String(n)];
  const { seconds, value } = await timed(async () => execFileSync(process.execPath, args, { encoding: "utf8" }));
  return { ...(JSON.parse(value) as Omit<Run, "seconds">), seconds };
}

const results = new Results("synth");
const TIMES: Readonly<Record<number, number>> = { 1: 3, 10: 3, 100: 5, 1000: 3 };

for (const [n, times] of Object.entries(TIMES)) {
  const runs = { hosts: [] as Run[], raw: [] as Run[] };
  // By turns, so that whatever else the machine does meets both.
  for (let i = 0; i < times; i++)
    for (const kind of ["hosts", "raw"] as const) runs[kind].push(await run(kind, Number(n)));
  const cpu = (kind: "hosts" | "raw") =>
    results.figure(
      `${kind}_cpu_${n}`,
      runs[kind].map((one) => one.cpu),
      "s",
    );
  const [ours, theirs] = [cpu("hosts"), cpu("raw")];
  for (const kind of ["hosts", "raw"] as const)
    results.figure(
      `${kind}_mb_${n}`,
      runs[kind].map((one) => one.mb),
      "MB",
    );
  results.figure(
    `resources_${n}`,
    runs.hosts.map((one) => one.resources),
    "",
  );
  if (n === "100" || n === "1000") results.ratio(`cpu_vs_raw_${n}`, ours / theirs, "<=", 1.5, "");
  if (n === "1000") results.ratio("mb_1000", Math.max(...runs.hosts.map((one) => one.mb)), "<=", 800, "MB");
}
results.note(
  "raw",
  "resources of the same types and number, with references between them, by the same bindings and cdktf alone",
);
results.note("cpu", "user and system seconds of construction and synth, without the start of Node.js and the imports");
results.write();
