#!/bin/bash
# Make the root disk of one machine from an image: copy, grow, and write into it what is this machine's own.
# The user data comes on stdin and is written nowhere but into the new root disk.
#
#   IMAGE     the image's root.img; ROOT the disk to make; ROOT_GIB its size
#   ENGINE    nspawn or qemu
#   HOST_NAME, INSTANCE   for cloud-init's meta-data
#   INTERFACE, ADDRESS, PREFIX, GATEWAY, RESOLVER   of its network
#   COMPONENTS  what is to be on it from the start, a line each: digest, sha256 and bytes of the archive, its path
#   RECEIVE     the program that receives a component, the same that the machine itself would run
#
# Run in a mount namespace of its own: the mount goes with the last process of it.
set -eu
: "${IMAGE:?}" "${ROOT:?}" "${ROOT_GIB:?}" "${HOST_NAME:?}" "${INSTANCE:?}"
: "${ENGINE:?}" "${INTERFACE:?}" "${ADDRESS:?}" "${PREFIX:?}" "${GATEWAY:?}" "${RESOLVER:?}"
umask 077

new=$ROOT.new
mnt=$ROOT.mnt
trap 'rm -f "$new"; rmdir "$mnt" 2>/dev/null || true' EXIT
rm -f "$new"
cp --sparse=always --reflink=auto "$IMAGE" "$new"
if [ "$(stat -c %s "$new")" -lt $((ROOT_GIB << 30)) ]; then
  truncate -s "${ROOT_GIB}G" "$new"
  resize2fs -f "$new" >/dev/null 2>&1
fi

mkdir -p "$mnt"
mount -o loop,noatime "$new" "$mnt"
trap 'umount "$mnt" 2>/dev/null; rm -f "$new"; rmdir "$mnt" 2>/dev/null || true' EXIT

mask() {
  for unit in "$@"; do ln -sfn /dev/null "$mnt/etc/systemd/system/$unit"; done
}
# Names are asked of the one resolver below. The proxy's own service is masked by first boot in any case, and would be
# started until then; there are no logical volumes.
mask systemd-resolved.service haproxy.service e2scrub_reap.service e2scrub_all.timer
# What systemd makes anew once /usr has changed (caches of libraries, of hardware, of messages) is as its packages left it.
touch "$mnt/etc/.updated" "$mnt/var/.updated"
case $ENGINE in
nspawn)
  # What a container must not run: its network and its devices are given to it from outside, and the kernel's audit
  # belongs to the operator's machine.
  mask systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udev-trigger.service \
    systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service \
    auditd.service audit-rules.service
  ;;
qemu)
  # The data volume has the name that it has on every machine.
  cat >"$mnt/etc/udev/rules.d/61-bailiwick.rules" <<'EOF'
SUBSYSTEM=="block", ENV{DEVTYPE}=="disk", ATTR{serial}=="bailiwick-data", SYMLINK+="disk/by-id/bailiwick-data"
EOF
  chmod 0644 "$mnt/etc/udev/rules.d/61-bailiwick.rules"
  ;;
*)
  echo "ENGINE: received $ENGINE; it is nspawn or qemu" >&2
  exit 1
  ;;
esac

rm -f "$mnt/etc/resolv.conf"
echo "nameserver $RESOLVER" >"$mnt/etc/resolv.conf"
chmod 0644 "$mnt/etc/resolv.conf"

seed=$mnt/var/lib/cloud/seed/nocloud
mkdir -p "$seed"
cat >"$seed/user-data"
cat >"$seed/meta-data" <<EOF
instance-id: $INSTANCE
local-hostname: $HOST_NAME
EOF
cat >"$seed/network-config" <<EOF
version: 2
ethernets:
  $INTERFACE:
    addresses: [$ADDRESS/$PREFIX]
    routes: [{to: default, via: $GATEWAY}]
    nameservers: {addresses: [$RESOLVER]}
EOF

while read -r digest sha256 bytes path; do
  [ -n "$digest" ] || continue
  words=(receive "$mnt/opt/bailiwick" "$digest" "$sha256" "$bytes" 0 placed)
  # what stands in the way on this disk is for first boot to name, which then fails; the push sends what is missing
  said=$(sh -c "$RECEIVE" bailiwick-upload "${words[@]}" <"$path") || said="not placed"
  [ "$said" != corrupt ] || { echo "component $digest: its archive $path is not the one described" >&2; exit 1; }
done <<<"${COMPONENTS-}"

umount "$mnt"
rmdir "$mnt"
trap 'rm -f "$new"' EXIT
sync "$new"
mv "$new" "$ROOT"
