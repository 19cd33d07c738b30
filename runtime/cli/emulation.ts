import { machineStatus } from "../local/machine.ts";
import type { Bindings } from "../spec/binding.ts";
import type { HostSpec } from "../spec/host-spec.ts";

/** Whether the host is a machine of this computer that runs without KVM. Everything that renders a release for it asks here. */
export async function isEmulated({ machine }: Bindings): Promise<boolean> {
  if (machine.kind !== "local") return false;
  const status = await machineStatus(machine.slot, machine.instance);
  return status.state === "running" && status.emulated === true;
}

/** A computer that does other things too needs this long for one OpenClaw, seconds: see ADR 0031. */
const HEALTH_SECONDS = 3600;

/** What to say before a release goes to a machine that is emulated; undefined if none of it is slow on one. */
export function emulationWarning(spec: HostSpec): string | undefined {
  const agents = Object.entries(spec.agents).filter(([, { runtime }]) => runtime.kind === "openclaw");
  if (agents.length === 0) return undefined;
  const names = agents.map(([name]) => name).join(", ");
  const { healthSeconds } = spec.timeouts;
  const slow = `this machine is emulated: each start of OpenClaw (agents: ${names}) takes ten minutes and more`;
  return healthSeconds < HEALTH_SECONDS
    ? `${slow}, and timeouts.healthSeconds is ${healthSeconds}, after which this release is undone; give it ${HEALTH_SECONDS}, or use engine "nspawn"`
    : slow;
}
