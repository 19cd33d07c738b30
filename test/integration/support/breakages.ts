// A host on which every probe of `bailiwick verify` can be seen to fail: what breaks each boundary, and how it is undone.

/** App of the host that the breakages below are for; `KIT` and `DAEMON` are to be replaced by paths. */
export const BREAKABLE_APP = `
import { App, TerraformStack } from "cdktf";
import { Access, AgentHost, LocalMachine, ModelProvider, Runtime } from "KIT";

const app = new App();
const stack = new TerraformStack(app, "breakable");
const host = new AgentHost(stack, "breakable", {
  machine: new LocalMachine(stack, "machine", { engine: "nspawn" }),
  access: Access.operator(),
});
const daemon = () => Runtime.command({ source: "DAEMON", argv: ["node", "./main.mjs"], health: "/healthz" });
const ann = host.addAgent("ann", { runtime: daemon() });
const bob = host.addAgent("bob", { runtime: daemon() });
host.addModel("demo", ModelProvider.demo()).grantInvoke(ann, { models: ["demo"] });
const notes = host.addWorkspace("notes");
notes.grantReadWrite(ann);
notes.grantRead(bob);
host.addWorkspace("private").grantReadWrite(bob);
ann.allowEgress("news.example.com");
app.synth();
`;

const PRINCIPALS = ["agent/ann", "agent/bob", "egress", "gateway", "model/demo"] as const;

export interface Breakage {
  readonly name: string;
  /** Ids of the probes that must be `broken` while it lasts. */
  readonly breaks: readonly string[];
  /** Run as root by /bin/sh on the host. */
  readonly how: string;
  readonly undo: string;
}

/** Probes that no command on the host can break, and what shows that they can fail. */
export const NOT_BROKEN_HERE: Readonly<Record<string, string>> = {
  "outside/host-key":
    "only the operator's state has the one-time key; test/runtime/verify judges it, the trust tests show it",
};

const each = (...what: string[]) => PRINCIPALS.flatMap((id) => what.map((one) => `${id}/${one}`));
const unit = (id: string) => `bailiwick-${id.replace("/", "-")}`;

/** A drop-in for the units of all principals, or for their probe units, that comes after the sandbox and undoes it. */
const dropIn = (units: readonly string[], lines: string) => ({
  how: `
for unit in ${units.join(" ")}; do
  mkdir -p /etc/systemd/system/$unit.d
  printf '%s\\n' '[Service]' ${lines
    .trim()
    .split("\n")
    .map((line) => `'${line.trim()}'`)
    .join(" ")} >/etc/systemd/system/$unit.d/99-broken.conf
done
systemctl daemon-reload`,
  undo: `
for unit in ${units.join(" ")}; do rm -r /etc/systemd/system/$unit.d; done
systemctl daemon-reload`,
});
const PROBE_UNITS = PRINCIPALS.map((id) => `${unit(id)}-probe@.service`);
const LIVE_UNITS = PRINCIPALS.map((id) => `${unit(id)}.service`);

const NO_SANDBOX = dropIn(
  PROBE_UNITS,
  `NoNewPrivileges=no
   SystemCallFilter=
   RestrictNamespaces=no
   RestrictAddressFamilies=
   LockPersonality=no
   MemoryDenyWriteExecute=no
   CapabilityBoundingSet=~
   ProtectSystem=no
   ProtectHome=no
   PrivateDevices=no
   PrivateUsers=no
   PrivateTmp=no
   ProtectProc=default
   ProcSubset=all
   ProtectKernelTunables=no
   InaccessiblePaths=
   TemporaryFileSystem=
   NoExecPaths=
   ExecPaths=
   DevicePolicy=auto
   SocketBindDeny=
   KeyringMode=inherit`,
);

const CURRENT = "$(readlink -f /opt/bailiwick/current)";
const keep = (file: string) => `cp -p ${file} /root/kept`;
const putBack = (file: string) => `cp -p /root/kept ${file}`;

export const BREAKAGES: readonly Breakage[] = [
  {
    name: "the sandbox is off",
    breaks: [
      ...each("system-calls", "sockets", "processes", "devices", "root", "bind"),
      ...["agent/ann", "agent/bob", "gateway"].map((id) => `${id}/execution`),
      ...["agent/ann", "agent/bob", "model/demo", "gateway"].map((id) => `${id}/secrets`),
      "agent/ann/other-workspaces",
      "agent/bob/other-workspaces",
      "agent/ann/workspace/notes",
      "root/unit-files",
    ],
    ...NO_SANDBOX,
  },
  {
    name: "the sandbox is off, and root's files are open",
    breaks: [
      ...each("read-only", "execution", "secrets"),
      "root/components",
      "root/temporary-mounts",
      "root/credential-files",
    ],
    how: `${NO_SANDBOX.how}
chmod 777 /usr/lib/bailiwick
chmod 755 /etc/bailiwick/credentials
mount -o remount,exec /tmp`,
    undo: `${NO_SANDBOX.undo}
chmod 755 /usr/lib/bailiwick
chmod 700 /etc/bailiwick/credentials
mount -o remount,noexec /tmp`,
  },
  {
    name: "the firewall refuses nothing",
    breaks: [
      ...each("direct", "ports", "sshd"),
      ...["agent/ann", "agent/bob", "gateway", "model/demo"].map((id) => `${id}/dns`),
      "agent/ann/metadata",
      "egress/metadata",
      "root/release",
    ],
    how: `
mkdir -p /root/rules
cp -p /usr/lib/bailiwick/base.nft /root/rules/base.nft
cp -p /opt/bailiwick/current/etc/firewall.nft /root/rules/firewall.nft
sed -i /jump.refuse/d /usr/lib/bailiwick/base.nft ${CURRENT}/etc/firewall.nft
systemctl reset-failed "bailiwick-*" 2>/dev/null || true
systemctl restart bailiwick-firewall
sleep 2`,
    undo: `
cp -p /root/rules/base.nft /usr/lib/bailiwick/base.nft
cp -p /root/rules/firewall.nft ${CURRENT}/etc/firewall.nft
systemctl reset-failed "bailiwick-*" 2>/dev/null || true
systemctl restart bailiwick-firewall
sleep 2`,
  },
  {
    // where nothing is granted, the unit's own address filter stands behind the firewall
    name: "the firewall refuses nothing, and the units' address filters are off",
    breaks: each("metadata"),
    how: `
mkdir -p /root/rules
cp -p /usr/lib/bailiwick/base.nft /root/rules/base.nft
cp -p /opt/bailiwick/current/etc/firewall.nft /root/rules/firewall.nft
sed -i /jump.refuse/d /usr/lib/bailiwick/base.nft ${CURRENT}/etc/firewall.nft
systemctl reset-failed "bailiwick-*" 2>/dev/null || true
systemctl restart bailiwick-firewall
${dropIn(PROBE_UNITS, "IPAddressDeny=\nIPAddressAllow=").how}`,
    undo: `
${dropIn(PROBE_UNITS, "").undo}
cp -p /root/rules/base.nft /usr/lib/bailiwick/base.nft
cp -p /root/rules/firewall.nft ${CURRENT}/etc/firewall.nft
systemctl reset-failed "bailiwick-*" 2>/dev/null || true
systemctl restart bailiwick-firewall
sleep 2`,
  },
  {
    name: "the kernel has rules that the release does not have",
    breaks: ["root/firewall-rules"],
    how: `
cp -p /opt/bailiwick/current/etc/firewall.nft /root/kept
sed -i '0,/jump refuse/{/jump refuse/d}' ${CURRENT}/etc/firewall.nft`,
    undo: putBack(`${CURRENT}/etc/firewall.nft`),
  },
  {
    name: "another table stands beside the kit's",
    breaks: ["root/firewall-tables"],
    how: "nft add table inet stray",
    undo: "nft delete table inet stray",
  },
  {
    name: "the egress proxy takes every name",
    breaks: ["agent/ann/ungranted-names", "agent/ann/no-name"],
    how: `
${keep("/opt/bailiwick/current/etc/egress/haproxy.cfg")}
sed -i '/reject if !listed/d' ${CURRENT}/etc/egress/haproxy.cfg
systemctl reset-failed bailiwick-egress 2>/dev/null || true
systemctl restart bailiwick-egress`,
    undo: `
${putBack(`${CURRENT}/etc/egress/haproxy.cfg`)}
systemctl reset-failed bailiwick-egress 2>/dev/null || true
systemctl restart bailiwick-egress`,
  },
  {
    name: "the egress proxy knows no name",
    breaks: ["agent/ann/name/news.example.com"],
    how: `
${keep("/opt/bailiwick/current/etc/egress/haproxy.cfg")}
sed -i 's/news.example.com/other.example.com/' ${CURRENT}/etc/egress/haproxy.cfg
systemctl reset-failed bailiwick-egress 2>/dev/null || true
systemctl restart bailiwick-egress`,
    undo: `
${putBack(`${CURRENT}/etc/egress/haproxy.cfg`)}
systemctl reset-failed bailiwick-egress 2>/dev/null || true
systemctl restart bailiwick-egress`,
  },
  {
    name: "the gateway is stopped",
    breaks: ["agent/ann/model/demo"],
    how: "systemctl stop bailiwick-gateway",
    undo: "systemctl reset-failed bailiwick-gateway || true; systemctl start bailiwick-gateway && sleep 1",
  },
  {
    name: "the gateway's configuration grants more",
    breaks: ["root/gateway-grants"],
    how: `
${keep("/opt/bailiwick/current/etc/gateway/gateway.json")}
sed -i 's/"models":\\["demo"/"models":["demo","other"/' ${CURRENT}/etc/gateway/gateway.json`,
    undo: putBack(`${CURRENT}/etc/gateway/gateway.json`),
  },
  {
    name: "workspaces are closed to whom they are granted",
    breaks: ["agent/ann/workspace/notes", "agent/bob/workspace/private", "root/workspace-acls"],
    how: `
for w in notes private; do getfacl -pR /var/lib/bailiwick/workspaces/$w; done >/root/acls
setfacl -b /var/lib/bailiwick/workspaces/notes /var/lib/bailiwick/workspaces/private
chmod 700 /var/lib/bailiwick/workspaces/notes /var/lib/bailiwick/workspaces/private`,
    undo: "setfacl --restore=/root/acls",
  },
  {
    name: "a workspace to read is open to write",
    breaks: ["agent/bob/workspace/notes", "root/workspace-acls"],
    how: `
getfacl -pR /var/lib/bailiwick/workspaces/notes >/root/acls
setfacl -m u:bw-agent-bob:rwx /var/lib/bailiwick/workspaces/notes
${dropIn(["bailiwick-agent-bob-probe@.service"], "BindReadOnlyPaths=\nBindPaths=/var/lib/bailiwick/workspaces/notes:/workspaces/notes").how}`,
    undo: `
setfacl --restore=/root/acls
${dropIn(["bailiwick-agent-bob-probe@.service"], "").undo}`,
  },
  {
    name: "the units run with half a sandbox and a secret in clear",
    breaks: [...each("live-process", "exposure", "credentials"), "root/unit-files"],
    ...(() => {
      const lines = `NoNewPrivileges=no
        SystemCallFilter=
        RestrictNamespaces=no
        RestrictAddressFamilies=
        PrivateUsers=no
        PrivateDevices=no
        ProtectSystem=no
        ProtectKernelTunables=no
        ProtectKernelModules=no
        ProtectKernelLogs=no
        ProtectControlGroups=no
        ProtectClock=no
        ProtectHome=no
        CapabilityBoundingSet=~
        RestrictRealtime=no
        LockPersonality=no
        SystemCallArchitectures=
        RestrictSUIDSGID=no
        SetCredential=key:clear`;
      const { how, undo } = dropIn(LIVE_UNITS, lines);
      const restart = `systemctl reset-failed ${LIVE_UNITS.join(" ")} || true; systemctl restart ${LIVE_UNITS.join(" ")}; sleep 2`;
      return { how: `${how}\n${restart}`, undo: `${undo}\n${restart}` };
    })(),
  },
  {
    name: "a unit of the release has failed",
    breaks: ["root/failed-units"],
    how: "systemd-run --quiet --wait --unit=doomed false || true",
    undo: "systemctl reset-failed doomed",
  },
  {
    name: "first boot and the release are not the spec's",
    breaks: ["root/baseline", "root/spec"],
    how: `
cp -p /etc/bailiwick/baseline.json /root/baseline.json
sed -i 's/"digest":"......../"digest":"00000000/' /etc/bailiwick/baseline.json
${keep("/opt/bailiwick/current/manifest.json")}
sed -i 's/"spec": "......../"spec": "00000000/' ${CURRENT}/manifest.json`,
    undo: `
cp -p /root/baseline.json /etc/bailiwick/baseline.json
${putBack(`${CURRENT}/manifest.json`)}`,
  },
  {
    name: "the data volume takes set-uid programs",
    breaks: ["root/data-volume"],
    how: "mount -o remount,suid /var/lib/bailiwick",
    undo: "mount -o remount,nosuid /var/lib/bailiwick",
  },
  {
    name: "the kernel forwards",
    breaks: ["root/kernel-settings"],
    how: `
mount -o remount,bind,rw /proc/sys
echo 1 >/proc/sys/net/ipv4/ip_forward`,
    undo: `
echo 0 >/proc/sys/net/ipv4/ip_forward
mount -o remount,bind,ro /proc/sys`,
  },
  {
    name: "something else listens",
    breaks: ["root/listeners"],
    how: "systemd-run --quiet --unit=listener /usr/bin/python3 -I -m http.server --bind 0.0.0.0 8088; sleep 1",
    undo: "systemctl stop listener",
  },
  {
    name: "no updates, no journal on disk",
    breaks: ["root/updates", "root/journal"],
    how: `
systemctl disable --quiet apt-daily-upgrade.timer
mkdir -p /etc/systemd/journald.conf.d
printf '[Journal]\\nStorage=volatile\\n' >/etc/systemd/journald.conf.d/zz-broken.conf
mv /var/log/journal /var/log/journal.kept
systemctl restart systemd-journald`,
    undo: `
systemctl enable --quiet apt-daily-upgrade.timer
rm /etc/systemd/journald.conf.d/zz-broken.conf
mv /var/log/journal.kept /var/log/journal
systemctl restart systemd-journald`,
  },
  {
    name: "a principal has a shell and sudo, and a stranger a key",
    breaks: ["root/accounts", "root/sudo", "root/admin-keys"],
    how: `
usermod --shell /bin/bash bw-agent-ann 2>/dev/null || sed -i '/^bw-agent-ann:/s#/usr/sbin/nologin#/bin/bash#' /etc/passwd
echo 'bw-agent-ann ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/broken
echo 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBSCKxlmuLk7hEAPGlDi3Nt0SGKpo7mRRT4VpR0LsCkE mallory' >/etc/ssh/authorized_keys.d/mallory`,
    undo: `
sed -i '/^bw-agent-ann:/s#/bin/bash#/usr/sbin/nologin#' /etc/passwd
rm /etc/sudoers.d/broken /etc/ssh/authorized_keys.d/mallory`,
  },
  {
    name: "sshd lets root in, takes passwords, and forwards",
    breaks: ["root/sshd", "outside/password", "outside/root", "outside/forwarding", "root/admin-keys"],
    how: `
printf '%s\\n' 'PermitRootLogin yes' 'PasswordAuthentication yes' 'AuthenticationMethods any' 'DisableForwarding no' 'AllowGroups *' >/etc/ssh/sshd_config.d/00-broken.conf
cat /etc/ssh/authorized_keys.d/* >/root/keys
cp /root/keys /etc/ssh/authorized_keys.d/root
systemctl reload ssh
sleep 1`,
    undo: `
rm /etc/ssh/sshd_config.d/00-broken.conf /etc/ssh/authorized_keys.d/root
systemctl reload ssh
sleep 1`,
  },
  {
    name: "cloud-init still has a key, and would run again",
    breaks: ["root/host-key"],
    how: `
mkdir -p /var/lib/cloud/instance
echo '-----BEGIN OPENSSH PRIVATE KEY-----' >/var/lib/cloud/instance/user-data.txt
rm /etc/cloud/cloud-init.disabled`,
    undo: `
rm -r /var/lib/cloud/instance
touch /etc/cloud/cloud-init.disabled`,
  },
];
