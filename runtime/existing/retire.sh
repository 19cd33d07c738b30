# Ends every other way in than the admins': what is removed here was kept aside before. Run by /bin/sh as root, with set, each
# by spaces: $keys and $sudoers, files; $sudo, members of the group; $passwords, accounts that have one.
set -eu
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
for account in $passwords; do passwd --quiet --lock "$account"; done
for member in $sudo; do gpasswd --delete "$member" sudo >/dev/null; done
rm -f $keys $sudoers
