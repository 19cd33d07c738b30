import { PRINCIPAL_UIDS } from "../spec/names.ts";
import type { MachineFacts } from "./facts.ts";

/** What the machine is to become, as far as what it is now could stand against it. */
export interface Wanted {
  readonly os: string;
  /** Account that is logged in to at first. */
  readonly user: string;
  /** Account name and uid of each admin. */
  readonly admins: Readonly<Record<string, number>>;
  readonly dataDevice: string;
}

export interface Objections {
  /** Why it cannot become a host at all. One sentence each: what was found, what to do. */
  readonly never: readonly string[];
  /** What else runs on it, or who else: it may be taken only when `adopt` says so. */
  readonly others: readonly string[];
}

/**
 * Units of a Debian or Ubuntu installation that is there for nothing in particular: of the base system, of the network, of
 * the hypervisor's guest, of upkeep; and ours. Whatever else runs is somebody's.
 */
const BASE_UNITS = new RegExp(
  `^(${[
    "init\\.scope",
    "(console-getty|ssh|sshd|dbus|dbus-broker|cron|anacron|polkit|rsyslog|auditd|unattended-upgrades|needrestart|haveged|rngd|rng-tools)",
    "(getty|serial-getty|container-getty|autovt|ssh|user|user-runtime-dir|ifup|wpa_supplicant|dhcpcd)@.*",
    "(networking|NetworkManager|wpa_supplicant|dhcpcd|isc-dhcp-client|ntpsec|chrony|chronyd|irqbalance|acpid|mdmonitor)",
    // Ubuntu's
    "(snapd|multipathd|networkd-dispatcher|ModemManager|packagekit|fwupd|thermald|ubuntu-advantage|accounts-daemon)",
    "(lvm2|systemd|apt-daily|cloud|hv|google|smartmontools|smartd|udisks2|vgauth|open-vm-tools|qemu-guest-agent).*",
    "bailiwick-.*",
  ].join("|")})(\\.service)?$`,
);
/** The session over which this is asked is one. */
const SESSION = /^(session-[a-z0-9]+\.scope|user@\d+\.service)$/;
// clients of DHCP, which listen for answers
const CLIENT_PORTS = /:(68|546)$/;

/** What stands against making a host of the machine. Nothing of it is a matter of taste: see docs/guides/existing-machine.md. */
export function objectionsTo(facts: MachineFacts, wanted: Wanted): Objections {
  return { never: never(facts, wanted), others: others(facts, wanted) };
}

function never(facts: MachineFacts, wanted: Wanted): string[] {
  const { accounts } = facts;
  const clashes = Object.entries(wanted.admins).flatMap(([name, uid]) => {
    const same = accounts.find((account) => account.name === name);
    const holder = accounts.find((account) => account.uid === uid);
    if (same !== undefined && same.uid !== uid)
      return [`it has an account "${name}" with uid ${same.uid}; write admins: { ${name}: { key, uid: ${same.uid} } }`];
    if (holder !== undefined && holder.name !== name)
      return [`uid ${uid} of admin "${name}" is that of its account "${holder.name}"; give the admin another uid`];
    return [];
  });
  const { first, last } = PRINCIPAL_UIDS;
  // principals of a release that is on it already
  const taken = accounts.filter(({ name, uid }) => uid >= first && uid <= last && !name.startsWith("bw-"));
  return [
    ...(facts.uid === 0 ? [] : [`root cannot be had as "${wanted.user}"; let it sudo without a password`]),
    ...(facts.os === wanted.os
      ? []
      : [`it runs ${facts.os || "no system that says what it is"}; ${wanted.os} is taken`]),
    ...(facts.arch === "x86_64" ? [] : [`it is ${facts.arch}; what is put on it is built for x86_64`]),
    ...(facts.init === "systemd" ? [] : [`its init is ${facts.init}; systemd is needed`]),
    ...(facts.ssh === "active"
      ? []
      : [`ssh.service is ${facts.ssh}; its sshd must run by that unit: systemctl enable --now ssh`]),
    // see firstTable in cloud-init/operating-systems.ts
    ...(facts.os.startsWith("ubuntu-") && facts.missing.includes("nftables")
      ? ["it has no nft, and nothing may be fetched before a firewall is in force: apt-get install nftables"]
      : []),
    ...clashes,
    ...taken.map(({ name, uid }) => `its account "${name}" has uid ${uid}, and ${first} to ${last} are for principals`),
    ...deviceProblems(facts.device, wanted.dataDevice),
  ];
}

function deviceProblems(device: string, name: string): string[] {
  if (device === "absent") return [`there is no block device /dev/disk/by-id/${name}; ls -l /dev/disk/by-id`];
  if (device.startsWith("foreign"))
    return [`/dev/disk/by-id/${name} is neither blank nor a host's data volume; give another, or wipe it (${device})`];
  return [];
}

function others(facts: MachineFacts, { user, admins }: Wanted): string[] {
  const listening = facts.listening.filter(
    ({ protocol, local, unit, program }) =>
      !(BASE_UNITS.test(unit) && (unit !== "init.scope" || (program === "systemd" && local.endsWith(":22")))) &&
      !(protocol === "udp" && CLIENT_PORTS.test(local)),
  );
  const services = facts.running.filter((unit) => !BASE_UNITS.test(unit) && !SESSION.test(unit));
  const keyed = new Set(facts.keys.map(({ account }) => account));
  const known = (name: string) => name === user || name === "root" || Object.hasOwn(admins, name);
  const logins = facts.accounts.filter(
    ({ name, shell, password }) =>
      !known(name) && !/\/(nologin|false|sync)$/.test(shell) && (password || keyed.has(name)),
  );
  const tables = facts.tables.filter((table) => !/^inet bailiwick(_base|_first)?$/.test(table));
  return [
    ...services.map((unit) => `service ${unit} runs`),
    ...[
      ...new Set(
        listening.map(
          ({ protocol, local, program, unit }) => `${program || "something"} (${unit}) listens on ${protocol} ${local}`,
        ),
      ),
    ],
    ...logins.map(({ name }) => `account "${name}" can log in`),
    ...tables.map((table) => `there is a firewall table "${table}"`),
    ...facts.crontabs.map((path) => `there is a crontab ${path}`),
  ];
}
