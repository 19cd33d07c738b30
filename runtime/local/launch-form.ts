import { existsSync } from "node:fs";

/**
 * Whether systemd runs this machine on plain cgroup v2. Then a machine is a transient unit with a delegated cgroup
 * (`systemd-unit`). Else, on cgroup v1 or under another init, it is started in a mount namespace of its own with a
 * cgroup2 mounted there (`private-cgroup2`).
 *
 * The integration tests run whichever form their machine has; so far that was `private-cgroup2` (cgroup v1) alone. For the
 * other, test/long/computer.ts is a computer of its own: an emulated Debian 13, with systemd 257 and AppArmor.
 */
export function runsUnderSystemd(): boolean {
  return existsSync("/run/systemd/system") && existsSync("/sys/fs/cgroup/cgroup.controllers");
}
