import { z } from "zod";

/** Operating systems that the baseline knows, as /etc/os-release names them: `<ID>-<VERSION_ID>`. */
export const OperatingSystem = z.enum(["debian-12", "debian-13", "ubuntu-24.04"]);
export type OperatingSystem = z.output<typeof OperatingSystem>;

/**
 * Whether its kernel (from 6.9 on) and its nft (from 1.1.0 on) know `persist`, so that a table can have an owner and outlive it.
 * Where not, nobody owns the tables, and their holder puts back what others change.
 */
export function ownsTables(os: OperatingSystem): boolean {
  return os === "debian-13";
}

/**
 * Whether its systemd is built with what `SocketBindDeny=` needs (BPF_FRAMEWORK), so that a unit is refused a port. Where not,
 * the firewall lets no answer out of a port that is not its principal's.
 */
export function refusesBinds(os: OperatingSystem): boolean {
  return os === "debian-13";
}
