#!/bin/bash
# Run one nspawn machine until it is powered off. Everything mounted here lives in this process's own mount namespace and
# goes with its last process; loop devices are in autoclear and go with their last user.
#
#   ROOT, MOUNT   its root disk, and where that is mounted
#   PID, LOCK     the files to write: pid of nspawn, path of nspawn's lock
#   DATA      its data volume; or DEVICES, a folder in which the volume's device is to appear, perhaps later
#   NAME      name of the machine, its network namespace and its cgroup; HOST_NAME its host name
#   FORM      private-cgroup2: this script mounts a cgroup2 of its own and restarts the guest when it asks for a reboot.
#             systemd-unit: this is a unit of systemd with Delegate=yes, and systemd restarts it (exit status 133).
set -u
: "${ROOT:?}" "${MOUNT:?}" "${PID:?}" "${LOCK:?}" "${NAME:?}" "${HOST_NAME:?}" "${FORM:?}"

# No descriptor of whoever started the machine may stay open: it would wait for the machine's end.
for fd in /proc/$$/fd/*; do
  fd=${fd##*/}
  if [ "$fd" -gt 2 ] && [ "$fd" -ne 255 ]; then eval "exec $fd>&-"; fi
done
cd / || exit 1
umask 022

mkdir -p "$MOUNT"
mount -o loop,noatime "$ROOT" "$MOUNT" || exit 1
# A killed nspawn leaves its lock file; by this name whoever cleans up finds it.
stat -c '/run/systemd/nspawn/locks/inode-%d:%i' "$MOUNT" >"$LOCK"
if [ -n "${DATA-}" ]; then
  data=$(losetup --find --show "$DATA") || exit 1
  exec 9<"$data"
  losetup -d "$data" # autoclear: freed with its last user
  bind=$data:/dev/disk/by-id/bailiwick-data
else
  exec 9</dev/null
  bind=${DEVICES:?}:/dev/disk/by-id
fi

start=(
  systemd-nspawn -D "$MOUNT" --boot --register=no --keep-unit
  --machine="$NAME" --hostname="$HOST_NAME" --network-namespace-path="/run/netns/$NAME"
  --console=read-only --resolv-conf=off --link-journal=no --timezone=off
  --bind="$bind"
  --system-call-filter='@keyring bpf landlock_create_ruleset landlock_restrict_self' --capability=CAP_NET_ADMIN,CAP_BPF
)

# nspawn would mount a /tmp that runs programs before the guest's systemd looks, which then leaves it so.
export SYSTEMD_NSPAWN_TMPFS_TMP=0

# The network namespace outlives the guest: a reboot must not inherit its tables.
flush() { nsenter --net="/run/netns/$NAME" nft flush ruleset; }

if [ "$FORM" = systemd-unit ]; then
  flush || exit 1
  # nspawn closes descriptor 9, so a process of this unit holds the loop device, in a cgroup of its own: nspawn can
  # delegate controllers only from a cgroup without processes.
  sleep infinity &
  cgroup=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
  mkdir -p "$cgroup/holder"
  echo $! >"$cgroup/holder/cgroup.procs" || exit 1
  echo $$ >"$PID"
  exec "${start[@]}" </dev/null 9<&-
fi

umount -R -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup || exit 1
mkdir -p "/sys/fs/cgroup/$NAME"
echo $$ >"/sys/fs/cgroup/$NAME/cgroup.procs" || exit 1

trap : TERM
while :; do
  flush || exit 1
  "${start[@]}" </dev/null 9<&- &
  nspawn=$!
  echo "$nspawn" >"$PID"
  status=0
  while kill -0 "$nspawn" 2>/dev/null; do
    wait "$nspawn"
    status=$?
  done
  echo "nspawn ended: $status"
  [ "$status" -eq 133 ] || break # 133: the guest asked for a reboot
done
rm -f "$PID"
exit "$status"
