import { existsSync } from "node:fs";

/**
 * Whether systemd runs this machine on plain cgroup v2. Then a machine is a transient unit with a delegated cgroup
 * (`systemd-unit`). Else, on cgroup v1 or under another init, it is started in a mount namespace of its own with a
 * cgroup2 mounted there (`private-cgroup2`).
 *
 * The integration tests run whichever form their machine has. So far that was `private-cgroup2` (cgroup v1) alone; of
 * `systemd-unit`, only the transient unit itself was tried, on systemd 257 with a stand-in for nspawn.
 */
export function runsUnderSystemd(): boolean {
  return existsSync("/run/systemd/system") && existsSync("/sys/fs/cgroup/cgroup.controllers");
}
