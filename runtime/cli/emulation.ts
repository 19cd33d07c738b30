import type { HostSpec } from "../spec/host-spec.ts";

/** What to say before a release goes to a machine that is emulated; undefined if all of it is known to run on one. */
export function emulationWarning(spec: HostSpec): string | undefined {
  const agents = Object.entries(spec.agents).filter(([, { runtime }]) => runtime.kind === "openclaw");
  if (agents.length === 0) return undefined;
  const names = agents.map(([name]) => name).join(", ");
  return (
    `OpenClaw (agents: ${names}) is not expected to get ready on this machine, which is emulated: its first start ends by ` +
    `itself unless its worker is up within 5 s. Use engine "nspawn", or a computer where KVM runs guests`
  );
}
