/** Users and groups that Debian or the baseline's packages make; an admin of that name would be one with them. */
export const SYSTEM_ACCOUNTS: ReadonlySet<string> = new Set(
  (
    "root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc nobody nogroup " +
    "adm tty disk kmem dialout fax voice cdrom floppy tape sudo audio dip operator src shadow utmp video sasl plugdev " +
    "staff users input sgx clock kvm render crontab sshd messagebus polkitd dnsmasq haproxy debian tss chrony ntpsec " +
    "systemd-journal systemd-network systemd-resolve systemd-timesync systemd-coredump"
  ).split(" "),
);
