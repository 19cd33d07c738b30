import type { SynthCheck } from "./check.ts";

/** The operator of a machine elsewhere does not come from its loopback. */
export const reachableSsh: SynthCheck = ({ hosts }) =>
  hosts
    .filter(({ machineSpec, from }) => machineSpec.kind !== "local" && from.length > 0 && from.every(isLoopback))
    .map(
      ({ machine, name, machineSpec }) =>
        `${machine}: host "${name}" lets SSH in from loopback alone, as Access.operator() does for a machine on this computer, and this one is of kind ${machineSpec.kind}; give Access.ssh({ …, from }) with the networks you log in from`,
    );

function isLoopback(network: string): boolean {
  return network.startsWith("127.") || network === "::1/128";
}
