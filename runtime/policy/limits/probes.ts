import { hostPrincipals, serviceName } from "../egress/principals.ts";
import { unless, unprovable, words } from "../judgement.ts";
import type { Outcome, Probe, Subject } from "../probe.ts";
import { shellOf, shellSlice } from "../shell/shell.ts";
import { allLimits, type Limits } from "./schema.ts";

/** Whether systemd holds each agent, and each shell, to the limits of the spec. Using them up is not verify's to try. */
export function limitProbes({ spec }: Subject): Probe[] {
  return hostPrincipals(spec).flatMap((principal) => {
    const { id, kind, name } = principal;
    if (kind === "agent") return [limited(id, [serviceName(principal)], allLimits(spec.agents[name]?.limits))];
    // of a shell each session has them, and its slice all sessions together
    if (kind !== "shell") return [];
    return [limited(id, [serviceName(principal), shellSlice(name)], allLimits(shellOf(spec, name)?.limits))];
  });
}

/** A limit as `systemctl show` has it. */
export function shownLimits({ memoryMiB, cpus, tasks, logLines }: Limits): Readonly<Record<string, string>> {
  return {
    MemoryMax: String(memoryMiB * 1024 * 1024),
    TasksMax: String(tasks),
    CPUQuotaPerSecUSec: systemdSpan(Math.round(cpus * 100) * 10),
    LogRateLimitBurst: String(logLines),
  };
}

/** A span of time in systemd's words: `1min 30s`, `500ms`. */
function systemdSpan(ms: number): string {
  const parts = [
    [Math.floor(ms / 60_000), "min"],
    [Math.floor(ms / 1000) % 60, "s"],
    [ms % 1000, "ms"],
  ] as const;
  return parts.flatMap(([value, unit]) => (value === 0 ? [] : [`${value}${unit}`])).join(" ");
}

function limited(id: string, units: readonly string[], limits: Limits): Probe<Outcome> {
  const wanted = shownLimits(limits);
  return {
    id: `${id}/limits`,
    vantage: "root",
    title: "is held to its limits of memory, processors, tasks and log",
    expected: `${limits.memoryMiB} MiB, ${limits.cpus} processors, ${limits.tasks} tasks, ${limits.logLines} lines in 10 s`,
    read: (host) =>
      host.root({
        do: "run",
        argv: ["systemctl", "show", "-p", ["Id", ...Object.keys(wanted)].join(","), ...units],
        seconds: 10,
      }),
    judge: (outcome) => {
      if (!outcome.ok) return unprovable(words(outcome), "systemd did not answer");
      const blocks = (outcome.value as { stdout: string }).stdout.trim().split(/\n\n+/);
      return unless(
        units.flatMap((unit) => {
          const lines = blocks.find((block) => block.split("\n").includes(`Id=${unit}`))?.split("\n") ?? [];
          return Object.entries(wanted).flatMap(([name, value]) => {
            // a slice logs nothing itself
            if (unit.endsWith(".slice") && name === "LogRateLimitBurst") return [];
            const found = lines.find((line) => line.startsWith(`${name}=`))?.slice(name.length + 1) ?? "unset";
            return found === value ? [] : [`${name} of ${unit} is ${found}, not ${value}`];
          });
        }),
        "as in the spec",
      );
    },
  };
}
