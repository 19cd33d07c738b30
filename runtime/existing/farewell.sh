# Removes the accounts that the kit made for admins, with their homes, and what was kept aside. Run by /bin/sh as root, over
# a session that is none of theirs.
set -u
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
keep=/var/backups/bailiwick
[ -d $keep ] || exit 0
for name in $(getent group bailiwick-admins | cut -d: -f4 | tr , ' '); do
  grep -qx "$name" $keep/accounts && continue
  pkill -KILL -u "$name"
  for i in 1 2 3 4 5; do userdel --force --remove "$name" 2>/dev/null && break || sleep 0.2; done
done
getent group bailiwick-admins >/dev/null && groupdel bailiwick-admins
rm -f /etc/sudoers.d/bailiwick
# what the kit has put in its place
grep -qx etc/sudoers.d/bailiwick $keep/files && tar -xpf $keep/files.tar -C / etc/sudoers.d/bailiwick
rm -rf $keep
exit 0
