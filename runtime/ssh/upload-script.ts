/**
 * The program that receives a component, run as `sh -c <this> bailiwick-upload <verb> <root> <component> <archive sha256>
 * <archive bytes> <offset> <random>`. Its text is fixed; every argument is validated before it is passed.
 *
 * `probe` prints `present`, or `part <bytes>`: how much of the archive is there already.
 * `receive` appends stdin to the part from `offset` on; when the archive is whole and its sha256 is right it is unpacked
 * beside its place, synced and moved there. Prints `present`, `done`, `corrupt` (the part is gone), or `part <bytes>` if
 * an earlier receiver has brought more meanwhile, and then nothing was stored.
 */
export const UPLOAD_SCRIPT = `set -eu
LC_ALL=C; export LC_ALL
verb=$1 root=$2 component=$3 sha256=$4 bytes=$5 offset=$6 random=$7
incoming=$root/incoming components=$root/components
part=$incoming/$sha256.part final=$components/$component new=$components/$component.new.$random
fail() { echo "$1" >&2; exit 1; }
# one receiver at a time; that of a connection that was cut ends as soon as sshd sees it
lock() {
  exec 9>>"$part"
  flock -w 20 9 || fail "another upload of $sha256 is running on the host"
  present
  [ "$part" -ef /proc/self/fd/9 ] || fail "the part was replaced meanwhile; try again"
}
length() { stat -c %s "$part"; }
present() { [ ! -d "$final" ] || { rm -f "$part"; echo present; exit 0; }; }
trap 'exit 1' HUP INT TERM PIPE
present
if [ "$verb" = probe ]; then
  if [ ! -e "$part" ]; then echo "part 0"; exit 0; fi
  lock
  echo "part $(length)"; exit 0
fi
umask 022; mkdir -p "$components"
umask 077; mkdir -p "$incoming"
lock
[ "$(length)" = "$offset" ] || { echo "part $(length)"; exit 0; }
[ "$offset" -gt "$bytes" ] || head -c "$((bytes - offset))" >&9
[ "$(length)" -ge "$bytes" ] || fail "the upload was cut at $(length) of $bytes bytes"
if [ "$(length)" != "$bytes" ] || [ "$(sha256sum <"$part" | cut -d ' ' -f 1)" != "$sha256" ]; then
  rm -f "$part"; echo corrupt; exit 0
fi
# what a crash left of earlier attempts
rm -rf "$components/$component.new."*
trap 'rm -rf "$new"' EXIT
umask 022
mkdir "$new"
said=$(tar --zstd -x -f "$part" -C "$new" --no-same-owner --no-same-permissions --numeric-owner --warning=no-timestamp 2>&1) ||
  fail "tar: $said"
# tar only mentions that it made an absolute name relative
[ -z "$said" ] || fail "tar: $said"
odd=$(find "$new" '(' ! -type f ! -type d ! -type l -o -perm /7000 ')' -print -quit)
[ -z "$odd" ] || fail "the archive holds something other than plain files, directories and links: $odd"
sync -f "$new"
mv -T "$new" "$final"
sync -f "$components"
rm -f "$part"
echo done
`;
