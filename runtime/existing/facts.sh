# What an existing machine is and runs: a line each of a word and its value, by a tab. Reads, changes nothing. Run by
# /bin/sh as root, with $device set to the data volume's and $packages and $paths to what is asked about, by spaces.
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
say() { printf '%s\t%s\n' "$1" "$2"; }

. /etc/os-release
say os "$ID-${VERSION_ID:-}"
say arch "$(uname -m)"
say init "$(cat /proc/1/comm)"
say uid "$(id -u)"
say ssh "$(systemctl is-active ssh.service)"
say hostkey "$(cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub 2>/dev/null)"
say marker "$(cat /etc/bailiwick/baseline.json 2>/dev/null)"
[ ! -d /var/lib/cloud/instances ] || say cloud-init "$(ls /var/lib/cloud/instances | head -1)"

# name uid shell home password: P if there is one
getent passwd | while IFS=: read -r name _ uid _ _ home shell; do
  status=$(passwd --status "$name" 2>/dev/null | cut -d' ' -f2)
  say account "$name $uid ${shell:-/bin/sh} ${home:-/} ${status:-L}"
  for file in "$home"/.ssh/authorized_keys "$home"/.ssh/authorized_keys2; do
    [ ! -s "$file" ] || say keys "$name $file"
  done
done
say sudo "$(getent group sudo | cut -d: -f4 | tr , ' ')"
for file in /etc/sudoers.d/*; do
  case $file in */README | */bailiwick | '/etc/sudoers.d/*') ;; *) say sudoers "$file" ;; esac
done

unit_of() { sed -n 's,.*/\([^/]*\.\(service\|scope\)\)\(/.*\)\{0\,1\}$,\1,p' /proc/$1/cgroup 2>/dev/null | head -1; }
# protocol, local address, unit
ss -Hlntup 2>/dev/null | while read -r proto _ _ _ local _ users; do
  pid=$(printf %s "$users" | sed -n 's/.*pid=\([0-9]*\).*/\1/p')
  unit=$(unit_of "${pid:-0}")
  say listening "$proto $local ${unit:--} $(cat /proc/${pid:-0}/comm 2>/dev/null | tr ' ' _)"
done
systemctl list-units --type=service --state=running --plain --no-legend | while read -r unit _; do say running "$unit"; done
for file in /var/spool/cron/crontabs/*; do [ ! -s "$file" ] || say crontab "$file"; done
! command -v nft >/dev/null || nft list tables 2>/dev/null | while read -r _ family name; do say table "$family $name"; done

path=/dev/disk/by-id/$device
if [ ! -b "$path" ]; then
  say device absent
elif grep -qs " /var/lib/bailiwick " /proc/self/mounts; then
  say device mounted
else
  found=$(blkid -p -o export "$path")
  case "$? $found" in
  0*LABEL=bw-data*TYPE=xfs*) say device ours ;;
  2*) if cmp -sn 1048576 "$path" /dev/zero; then say device blank; else say device foreign; fi ;;
  *) say device "foreign $(printf %s "$found" | tr '\n' ' ')" ;;
  esac
fi
for package in $packages; do
  dpkg -s "$package" 2>/dev/null | grep -q 'ok installed' || say missing "$package"
done
for path in $paths; do
  [ ! -f "$path" ] || say file "$path $(base64 -w0 <"$path")"
done
