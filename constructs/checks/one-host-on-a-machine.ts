import type { CheckedHost } from "./check.ts";

/**
 * Two hosts on one existing machine would each take the other for something that runs on it, or tear it down. Asked of all
 * stacks together.
 */
export function oneHostOnAMachine(hosts: readonly CheckedHost[]): readonly string[] {
  const seen = new Map<string, CheckedHost>();
  return hosts.flatMap((host) => {
    const { machineSpec, machine, name } = host;
    if (machineSpec.kind !== "existing") return [];
    const known = [machineSpec.hostKey, machineSpec.address].filter((one) => typeof one === "string");
    const other = known.map((one) => seen.get(one)).find((one) => one !== undefined);
    for (const one of known) seen.set(one, host);
    return other === undefined
      ? []
      : [
          `${machine}: host "${name}" is on the machine of host "${other.name}" (${other.machine}); give it another machine`,
        ];
  });
}
