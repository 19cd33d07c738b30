# Stops what of a release runs, in systemd's order, and unmounts the data volume. Prints whether it is unmounted.
units=$(systemctl list-units --plain --no-legend 'bailiwick-*.service' 'bailiwick-*.socket' | cut -d' ' -f1 |
  grep -v -x -e bailiwick-firewall.service -e bailiwick-data.service)
[ -z "$units" ] || systemctl stop $units
systemctl stop var-lib-bailiwick.mount
sync
if mountpoint -q /var/lib/bailiwick; then
  echo mounted
  exit
fi
echo unmounted
