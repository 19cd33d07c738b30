#!/bin/bash
# Kill everything in one cgroup of the unified hierarchy and remove it. Run in a mount namespace of its own, where the
# hierarchy is mounted afresh: so it works wherever, or whether, the machine has it mounted.
#
#   CGROUP    path below the root of the hierarchy
set -eu
: "${CGROUP:?}"
mount -t cgroup2 none /sys/fs/cgroup
dir=/sys/fs/cgroup/$CGROUP
[ -d "$dir" ] || exit 0
echo 1 >"$dir/cgroup.kill"
for _ in $(seq 100); do
  if grep -q 'populated 0' "$dir/cgroup.events"; then
    find "$dir" -depth -type d -exec rmdir {} +
    exit 0
  fi
  sleep 0.1
done
echo "processes of cgroup $CGROUP did not end within 10 s of being killed:" >&2
find "$dir" -name cgroup.procs -exec cat {} + | while read -r pid; do
  echo "$pid $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) $(grep State "/proc/$pid/status" 2>/dev/null)" >&2
done
exit 1
