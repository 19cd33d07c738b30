import { egressProbes } from "../policy/egress/probes.ts";
import { limitProbes } from "../policy/limits/probes.ts";
import { modelProbes } from "../policy/models/probes.ts";
import type { Probe, Subject } from "../policy/probe.ts";
import { secretProbes } from "../policy/secrets/probes.ts";
import { shellProbes } from "../policy/shell/probes.ts";
import { toolProbes } from "../policy/tools/probes.ts";
import { workspaceProbes } from "../policy/workspaces/probes.ts";
import { accessProbes } from "./probes/access.ts";
import { firewallProbes } from "./probes/firewall.ts";
import { machineProbes } from "./probes/machine.ts";
import { type OutsideView, outsideProbes } from "./probes/outside.ts";
import { type Ports, portProbes } from "./probes/ports.ts";
import { sandboxProbes } from "./probes/sandbox.ts";
import { unitProbes } from "./probes/units.ts";
import { upkeepProbes } from "./probes/upkeep.ts";

/**
 * Every probe of a host: what is granted must work, what is not must fail, and what enforces both must be in place.
 * @param ports undefined if the host has no address that could be tried from here
 */
export function hostProbes(subject: Subject, view: OutsideView, ports?: Ports): Probe[] {
  const probes = [
    ...outsideProbes(view),
    ...portProbes(ports),
    ...machineProbes(subject),
    ...upkeepProbes(subject),
    ...accessProbes(subject, view.hostKey),
    ...firewallProbes(subject),
    ...unitProbes(subject),
    ...egressProbes(subject),
    ...modelProbes(subject),
    ...toolProbes(subject),
    ...shellProbes(subject),
    ...workspaceProbes(subject),
    ...secretProbes(subject),
    ...limitProbes(subject),
    ...sandboxProbes(subject),
  ];
  const place = (probe: Probe) => (probe.vantage === "outside" ? 0 : probe.id.startsWith("root/") ? 1 : 2);
  return probes.sort((a, b) => place(a) - place(b) || (a.id < b.id ? -1 : 1));
}
