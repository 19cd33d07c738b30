/** Where things are on the host; docs/architecture.md, "On the host". */
export const paths = {
  components: "/opt/bailiwick/components",
  releases: "/opt/bailiwick/releases",
  incoming: "/opt/bailiwick/incoming",
  current: "/opt/bailiwick/current",
  /** Exists while a release waits to be confirmed. */
  unconfirmed: "/opt/bailiwick/unconfirmed.json",
  history: "/opt/bailiwick/history.jsonl",
  settleUnit: "/etc/systemd/system/bailiwick-settle.service",
  settleWant: "/etc/systemd/system/sysinit.target.wants/bailiwick-settle.service",
  credentials: "/etc/bailiwick/credentials",
  versionKey: "/etc/bailiwick/version.key",
  baseline: "/etc/bailiwick/baseline.json",
  claimed: "/etc/bailiwick/claimed",
  authorizedKeys: "/etc/ssh/authorized_keys.d",
  data: "/var/lib/bailiwick",
  agents: "/var/lib/bailiwick/agents",
  snapshots: "/var/lib/bailiwick/snapshots",
  ledger: "/var/lib/bailiwick/ledger/uids.json",
  run: "/run/bailiwick",
  lock: "/run/bailiwick/lock",
} as const;
