import { Limits } from "../runtime/policy/limits/schema.ts";
import { checked, knownKeys } from "./refuse.ts";

export interface LimitProps {
  /**
   * Most memory, MiB. A process of the agent that needs more is ended.
   * @default 2048
   */
  readonly memoryMiB?: number;
  /**
   * Most processor time, in processors: 0.5 is half of one.
   * @default 2
   */
  readonly cpus?: number;
  /**
   * Most processes and threads at one time.
   * @default 512
   */
  readonly tasks?: number;
  /**
   * Lines of log in ten seconds; what is more is dropped.
   * @default 1000
   */
  readonly logLines?: number;
}

/** @throws Refusal for an unknown limit, or a number that is none */
export function limitsOf(path: string, props: LimitProps | undefined): Partial<Limits> | undefined {
  if (props === undefined) return undefined;
  knownKeys(path, props, Object.keys(Limits.shape));
  const given = Object.entries(props).filter(([, value]) => value !== undefined);
  return Object.fromEntries(
    given.map(([key, value]) => [key, checked(`${path}.${key}`, Limits.shape[key as keyof Limits], value)]),
  );
}
