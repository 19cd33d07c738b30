#!/bin/bash
# Build one root file system image from Debian's packages and put it in place whole, or not at all. Its kernel lies beside
# it: a virtual machine is given both, a container the file system alone.
#
#   IMAGES    directory of all images; DIGEST names this one, $IMAGES/$DIGEST/{root.img,vmlinuz}
#   SUITE     Debian suite; PACKAGES separated by commas; SIZE of the file system, such as 3G
#
# Run under a lock on $IMAGES/lock, so whatever is half-built there was left by a builder that died.
set -eu
: "${IMAGES:?}" "${DIGEST:?}" "${SUITE:?}" "${PACKAGES:?}" "${SIZE:?}"

if [ -e "$IMAGES/$DIGEST/root.img" ]; then
  echo "built meanwhile by another command"
  exit 0
fi
rm -rf --one-file-system "$IMAGES"/building-*
work=$IMAGES/building-$DIGEST
mkdir -p "$work/image"
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 1' INT TERM HUP
tree=$work/tree

# No mirror is named: mmdebstrap's default for the suite, with its updates and security archives, which is also what the
# image's sources.list then says. No initial RAM disk is made: the kernel has all it needs to mount its root.
INITRD=No mmdebstrap --variant=minbase --mode=root --format=directory --include="$PACKAGES" \
  --aptopt='Acquire::Languages "none"' \
  --aptopt='APT::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  "$SUITE" "$tree"

grep -q -- "$SUITE-security" "$tree/etc/apt/sources.list" || {
  echo "the image's sources.list has no $SUITE-security: it would never be patched" >&2
  exit 1
}

echo "I: removing what must differ between machines..."
rm -f "$tree"/etc/ssh/ssh_host_*
: >"$tree/etc/machine-id"
rm -f "$tree/var/lib/dbus/machine-id" "$tree/var/lib/systemd/random-seed" "$tree/var/lib/systemd/credential.secret"
echo localhost >"$tree/etc/hostname"
echo '# The root file system is mounted by whoever boots it.' >"$tree/etc/fstab"
# The resolver of the machine that built the image is nobody else's business; a symlink is systemd-resolved's own.
[ -L "$tree/etc/resolv.conf" ] || : >"$tree/etc/resolv.conf"
# A local machine has its user data on its root disk; no metadata service is ever asked. Of cloud-init's modules those that
# the baseline's user data needs: each of the others is seconds on an emulated machine.
cat >"$tree/etc/cloud/cloud.cfg.d/90_bailiwick.cfg" <<'EOF'
datasource_list: [NoCloud, None]
manage_etc_hosts: localhost
cloud_init_modules: [bootcmd, write_files, set_hostname, update_etc_hosts, users_groups, ssh]
cloud_config_modules: [set_passwords, apt_configure, runcmd]
cloud_final_modules: [write_files_deferred, scripts_user, final_message]
EOF

cp "$tree"/boot/vmlinuz-* "$work/image/vmlinuz"
chmod 0600 "$work/image/vmlinuz"

dpkg-query --admindir="$tree/var/lib/dpkg" -W -f '${Package} ${Version}\n' >"$work/image/packages.txt"

echo "I: making the file system..."
truncate -s "$SIZE" "$work/image/root.img"
mke2fs -q -t ext4 -L root -E lazy_itable_init=1,lazy_journal_init=1,discard -d "$tree" "$work/image/root.img"
chmod 0600 "$work/image/root.img"
sync "$work/image/root.img" "$work/image/vmlinuz" "$work/image/packages.txt"

rm -rf --one-file-system "${IMAGES:?}/$DIGEST"
mv "$work/image" "$IMAGES/$DIGEST"
sync "$IMAGES"
