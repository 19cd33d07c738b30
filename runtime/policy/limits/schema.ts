import { z } from "zod";

/** What an agent may use of the machine. Nothing but a number is taken: an agent without a limit can starve the others. */
export const Limits = z
  .strictObject({
    memoryMiB: z
      .number()
      .int()
      .min(64)
      .max(1048576)
      .describe(
        "Most memory, MiB; from three quarters of it on the kernel takes memory back. More ends a process of the agent.",
      ),
    cpus: z.number().min(0.05).max(256).describe("Most processor time, in processors."),
    tasks: z.number().int().min(16).max(65536).describe("Most processes and threads at one time."),
    logLines: z
      .number()
      .int()
      .min(10)
      .max(1000000)
      .describe(
        "Lines of log in ten seconds; journald takes up to six times as many, by the space left, and drops the rest.",
      ),
  })
  .describe("What an agent may use of the machine. Not enforced by nspawn on cgroup v1, but for the log.");
export type Limits = z.infer<typeof Limits>;

const DEFAULT_LIMITS: Limits = { memoryMiB: 2048, cpus: 2, tasks: 512, logLines: 1000 };

/** All limits of an agent: those of its spec, and the defaults for the others. */
export function allLimits(given: { readonly [name in keyof Limits]?: number | undefined } | undefined): Limits {
  return {
    memoryMiB: given?.memoryMiB ?? DEFAULT_LIMITS.memoryMiB,
    cpus: given?.cpus ?? DEFAULT_LIMITS.cpus,
    tasks: given?.tasks ?? DEFAULT_LIMITS.tasks,
    logLines: given?.logLines ?? DEFAULT_LIMITS.logLines,
  };
}
