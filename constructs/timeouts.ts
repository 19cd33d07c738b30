import { z } from "zod";
import type { HostSpec } from "../runtime/spec/host-spec.ts";
import { checked, knownKeys } from "./refuse.ts";

// made once: a schema costs more than a host
const Seconds = (min: number, max = 86_400) => z.number().int().min(min).max(max);
const TIMEOUTS = {
  baselineSeconds: Seconds(10),
  healthSeconds: Seconds(5),
  confirmSeconds: Seconds(5),
  drainSeconds: Seconds(1, 600),
};

/**
 * How long each step of a deploy may take, with what stands where nothing is given.
 * @throws Refusal for an unknown key or a bound out of range
 */
export function timeoutsOf(path: string, props: Partial<HostSpec["timeouts"]> = {}): HostSpec["timeouts"] {
  knownKeys(`${path}: timeouts`, props, Object.keys(TIMEOUTS));
  const { baselineSeconds = 600, healthSeconds = 180, confirmSeconds = 60, drainSeconds = 10 } = props;
  const seconds = (key: keyof typeof TIMEOUTS, value: number) =>
    checked(`${path}: timeouts.${key}`, TIMEOUTS[key], value);
  return {
    baselineSeconds: seconds("baselineSeconds", baselineSeconds),
    healthSeconds: seconds("healthSeconds", healthSeconds),
    confirmSeconds: seconds("confirmSeconds", confirmSeconds),
    drainSeconds: seconds("drainSeconds", drainSeconds),
  };
}
