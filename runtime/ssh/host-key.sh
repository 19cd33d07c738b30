#!/bin/sh
# host-key new: makes the next host key, prints its public line.
# host-key install <attestation: puts it in place of the bootstrap key. Safe to run again after a crash at any point.
set -eu
umask 077
cd /etc/ssh
key=ssh_host_ed25519_key
next=bailiwick-next/key
public() { ssh-keygen -yf $1 | cut -d' ' -f1,2; }
fail() { echo "host-key: $*" >&2; exit 1; }
# first boot ends within the second as a rule, and to ask it takes as long
soon() { for i in 1 2 3 4 5 6 7 8 9 10; do { [ -e /run/cloud-init/enabled ] && [ ! -e /run/cloud-init/result.json ]; } || return 0; sleep 0.1; done; }
case "$*" in
new)
  rm -rf bailiwick-next
  mkdir bailiwick-next
  ssh-keygen -qt ed25519 -N '' -C '' -f $next
  sync -f .
  public $next ;;
install)
  given=$(cat)
  use=$next
  # no pending key: moved already by a run that did not finish, or claimed before and attested anew
  [ -f $next ] || {
    use=$key
    [ -e /etc/bailiwick/claimed ] || [ "$(cut -d' ' -f1,2 $next.pub 2>&1)" = "$(public $key)" ] || fail no pending key, run host-key new
  }
  case "$given" in *"$(public $use)"*) ;; *) fail the attestation does not contain the public key of $use ;; esac
  soon
  [ -e /run/cloud-init/result.json ] || timeout 90 cloud-init status --wait >/dev/null 2>&1 || :
  printf '%s\n' "$given" >banner.new
  chmod 644 banner.new
  sync banner.new
  mv banner.new bailiwick-attestation
  sync -f .
  # sshd derives an absent .pub, but does not use a key whose .pub is of another
  [ $use = $key ] || { rm -f $key.pub; sync -f .; mv $next $key; sync -f .; }
  public $key >$key.pub
  chmod 644 $key.pub
  find . -name 'ssh_host_*' ! -name $key ! -name $key.pub -delete
  sshd -t
  # before its copies go: without them cloud-init takes a reboot for a first boot and brings the old key back
  [ ! -d /etc/cloud ] || >/etc/cloud/cloud-init.disabled
  date >/etc/bailiwick/claimed
  sync -f .
  systemctl reload ssh
  cd /var/lib/cloud || exit 0
  # once over each, and the names by rm: by default shred flushes the disk a dozen times for a file
  find instances seed /run/cloud-init -type f -size +0 -exec shred -n1 {} + || :
  rm -rf inst* seed /run/cloud-init /etc/ssh/bailiwick-next ;;
*) fail new or install? ;;
esac
