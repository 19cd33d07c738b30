# What cloud-init does before first boot's own script, then that script. Safe to run again. Run by /bin/sh as root, with set:
# $admin, $uid, $key of the first admin; $saved, paths without their first slash that are kept aside, by spaces; $apply and
# $sshd, the two files that cloud-init would write, in base64.
set -eu
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
umask 022
keep=/var/backups/bailiwick

# What was there before: once and whole, or a second run would keep what the first has put there.
if [ ! -d $keep ]; then
  rm -rf $keep.new
  install -dm700 $keep.new
  cd /
  for path in $saved etc/ssh/ssh_host_*; do [ ! -e "$path" ] || echo "$path"; done | sort -u >$keep.new/files
  tar -cpf $keep.new/files.tar -T $keep.new/files
  chmod 600 $keep.new/files.tar
  getent group sudo | cut -d: -f4 | tr , '\n' >$keep.new/sudo
  passwd --status --all | awk '$2 == "P" || $2 == "NP" { print $1 }' >$keep.new/passwords
  getent passwd | cut -d: -f1 >$keep.new/accounts
  dpkg-query -W -f '${Package}\n' >$keep.new/packages
  for unit in haproxy auditd audit-rules; do
    [ "$(systemctl is-enabled $unit 2>/dev/null)" != masked ] || echo $unit
  done >$keep.new/masked
  sync -f $keep.new
  mv $keep.new $keep
fi

getent group bailiwick-admins >/dev/null || groupadd --system bailiwick-admins
id -u "$admin" >/dev/null 2>&1 || useradd --create-home --uid "$uid" --shell /bin/bash "$admin"
usermod -aG bailiwick-admins "$admin"
home=$(getent passwd "$admin" | cut -d: -f6)
group=$(id -gn "$admin")
install -dm700 -o "$admin" -g "$group" "$home/.ssh"
if [ "$(cat "$home/.ssh/authorized_keys" 2>/dev/null)" != "$key" ]; then
  printf '%s\n' "$key" >"$home/.ssh/authorized_keys"
  chown "$admin:$group" "$home/.ssh/authorized_keys"
  chmod 600 "$home/.ssh/authorized_keys"
fi

put() {
  printf %s "$2" | base64 -d >"$1.new"
  chmod "$3" "$1.new"
  if cmp -s "$1.new" "$1"; then rm "$1.new"; else mv "$1.new" "$1"; fi
}
mkdir -p /usr/lib/bailiwick /etc/bailiwick
# As in first boot, nothing is fetched before something is in force; its means for that are python3's, which cloud-init
# needs anyway and a bare machine may lack. The script itself takes this table away.
command -v python3 >/dev/null || {
  nft -f - <<'TABLE'
table inet bailiwick_first {
  chain in {
    type filter hook input priority 0; policy drop;
    iif lo accept
    ct state established,related accept
    meta l4proto { icmp, ipv6-icmp } accept
    tcp dport 22 accept
  }
}
TABLE
  apt-get -qy update >&2
  DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends python3 >&2
}
put /usr/lib/bailiwick/apply "$apply" 755
put /etc/ssh/sshd_config.d/10-bailiwick.conf "$sshd" 600
# Its key has stood in no user data: there is nothing to be afraid of while the first push is awaited, and sshd stays up.
[ -e /etc/bailiwick/claimed ] || date >/etc/bailiwick/claimed
# which step failed, and on what, is said on its stdout
/bin/sh /usr/lib/bailiwick/apply >&2
