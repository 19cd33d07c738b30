/** Where things are on the host; docs/architecture.md, "On the host". */
export const paths = {
  components: "/opt/bailiwick/components",
  releases: "/opt/bailiwick/releases",
  current: "/opt/bailiwick/current",
  credentials: "/etc/bailiwick/credentials",
  versionKey: "/etc/bailiwick/version.key",
  baseline: "/etc/bailiwick/baseline.json",
  claimed: "/etc/bailiwick/claimed",
  authorizedKeys: "/etc/ssh/authorized_keys.d",
  data: "/var/lib/bailiwick",
  ledger: "/var/lib/bailiwick/ledger/uids.json",
  run: "/run/bailiwick",
  lock: "/run/bailiwick/lock",
} as const;
