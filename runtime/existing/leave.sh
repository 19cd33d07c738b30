# Takes everything of the kit away but the admins' accounts, and puts back what was there before. Safe to run again. Run by
# /bin/sh as root, with $files set to the paths that the baseline makes, by spaces. Prints what stays, a line each.
set -u
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
keep=/var/backups/bailiwick
[ -d $keep ] || { echo "nothing of the kit is on it"; exit 0; }

systemctl stop 'bailiwick-*.timer' 'bailiwick-*.socket' 'bailiwick-*.service'
systemctl stop var-lib-bailiwick.mount
! grep -qs ' /var/lib/bailiwick ' /proc/self/mounts || umount /var/lib/bailiwick || exit 1
for table in bailiwick bailiwick_base bailiwick_first; do
  ! nft list table inet $table >/dev/null 2>&1 || nft delete table inet $table || exit 1
done
systemctl disable --quiet bailiwick-firewall.service bailiwick-unclaimed.timer var-lib-bailiwick.mount
for unit in haproxy auditd audit-rules; do grep -qx $unit $keep/masked || systemctl unmask --quiet $unit; done

# principals; the admins go last, when it is known that somebody else gets in
getent passwd | while IFS=: read -r name _ uid _; do
  case $name in bw-*) grep -qx "$name" $keep/accounts || userdel "$name" ;; esac
done 2>/dev/null
getent group | while IFS=: read -r name _; do
  case $name in bw-*) groupdel "$name" ;; esac
done 2>/dev/null

rm -f $files /etc/ssh/bailiwick-attestation /etc/ssh/ssh_host_* /etc/systemd/system/bailiwick-* /etc/systemd/system/*.wants/bailiwick-*
rm -rf /usr/lib/bailiwick /opt/bailiwick /etc/bailiwick /etc/ssh/authorized_keys.d /etc/ssh/bailiwick-next
rmdir /var/lib/bailiwick /etc/audit/rules.d /etc/systemd/journald.conf.d /opt/bailiwick 2>/dev/null
tar -xpf $keep/files.tar -C / || exit 1
while read -r member; do [ -z "$member" ] || gpasswd --add "$member" sudo >/dev/null; done <$keep/sudo
while read -r account; do passwd --quiet --unlock "$account"; done <$keep/passwords
systemctl daemon-reload
systemctl restart systemd-journald
sshd -t || exit 1
systemctl reload ssh || exit 1

dpkg-query -W -f '${Package}\n' | grep -vxFf $keep/packages | tr '\n' ' ' | sed -n 's/\(..*\) $/packages: \1\n/p'
echo "kernel settings, and /tmp, /var/tmp and /dev/shm without programs: until it reboots"
[ ! -e /etc/cloud/cloud-init.disabled ] || echo "cloud-init is off, and what it was given is gone: on again it would take the next boot for the first"
echo "the journal in /var/log/journal"
