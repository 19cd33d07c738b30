import { byName, hostPrincipals, serviceName } from "../egress/principals.ts";
import { unless, unprovable, words } from "../judgement.ts";
import type { Outcome, Probe, Subject } from "../probe.ts";
import { allLimits, type Limits } from "./schema.ts";

/** Whether systemd holds each agent to the limits of the spec. Using them up is not verify's to try. */
export function limitProbes({ spec }: Subject): Probe[] {
  const principals = hostPrincipals(spec);
  return byName(spec.agents).flatMap(([name, { limits }]) =>
    principals
      .filter(({ id }) => id === `agent/${name}`)
      .map((principal) => limited(principal.id, serviceName(principal), allLimits(limits))),
  );
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

function limited(id: string, service: string, limits: Limits): Probe<Outcome> {
  const wanted = shownLimits(limits);
  return {
    id: `${id}/limits`,
    vantage: "root",
    title: "is held to its limits of memory, processors, tasks and log",
    expected: `${limits.memoryMiB} MiB, ${limits.cpus} processors, ${limits.tasks} tasks, ${limits.logLines} lines in 10 s`,
    read: (host) =>
      host.root({ do: "run", argv: ["systemctl", "show", "-p", Object.keys(wanted).join(","), service], seconds: 10 }),
    judge: (outcome) => {
      if (!outcome.ok) return unprovable(words(outcome), "systemd did not answer");
      const lines = (outcome.value as { stdout: string }).stdout.split("\n");
      return unless(
        Object.entries(wanted).flatMap(([name, value]) => {
          const found = lines.find((line) => line.startsWith(`${name}=`))?.slice(name.length + 1) ?? "unset";
          return found === value ? [] : [`${name} is ${found}, not ${value}`];
        }),
        "as in the spec",
      );
    },
  };
}
