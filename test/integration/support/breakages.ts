// A host on which every probe of `bailiwick verify` can be seen to fail: what breaks each boundary, and how it is undone.

import {
  GATEWAY_PORT,
  GUARD_PORT,
  type PrincipalId,
  principalPort,
  principalUid,
} from "../../../runtime/spec/names.ts";

/**
 * App of the host that the breakages below are for; `KIT` and `DAEMON` are to be replaced by paths. Its folder must have `mcp`,
 * and `mcp.lock.json` with server `everything`; its environment must have BW_TEAM_TOKEN.
 */
export const BREAKABLE_APP = `
import { App, TerraformStack } from "cdktf";
import { Access, AgentHost, LocalMachine, McpPackage, ModelProvider, Runtime, Secret } from "KIT";

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
const everything = host
  .addMcpServer("everything", McpPackage.npm("mcp", { package: "@modelcontextprotocol/server-everything", args: ["stdio"] }))
  .grantCall(ann, ["echo"]);
notes.grantRead(everything);
ann.grantShell({ workspaces: [notes] });
ann.allowEgress("news.example.com").allowEgress("*.wild.example.com").allowAddress("10.20.30.40", 22);
Secret.fromEnv("BW_TEAM_TOKEN", { name: "team" }).grantRead(bob).grantRead(everything);
app.synth();
`;

/** Those with a network; the MCP server and the shell have none. */
const PRINCIPALS = ["agent/ann", "agent/bob", "egress", "gateway", "guard", "model/demo", "resolver"] as const;
const SERVER = "mcp/everything";
const SHELL = "shell/ann";
const OFFLINE = [SERVER, SHELL] as const;

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
const all = (...what: string[]) => [...each(...what), ...OFFLINE.flatMap((id) => what.map((one) => `${id}/${one}`))];
const unit = (id: string) => `bailiwick-${id.replace("/", "-")}`;
const PROBE_UNITS = [...PRINCIPALS, ...OFFLINE].map((id) => `${unit(id)}-probe@.service`);
const LIVE_UNITS = PRINCIPALS.map((id) => `${unit(id)}.service`);
const OFFLINE_UNITS = OFFLINE.map((id) => `${unit(id)}@.service`);

/** Breakages that do not hide each other, at the same time. */
function atOnce(...parts: readonly Breakage[]): Breakage {
  return {
    name: parts.map(({ name }) => name).join("; "),
    breaks: [...new Set(parts.flatMap(({ breaks }) => breaks))],
    how: parts.map(({ how }) => how).join("\n"),
    undo: parts.map(({ undo }) => undo).join("\n"),
  };
}

/** A drop-in for units that comes after the sandbox and undoes it. */
function dropIn(units: readonly string[], lines: string) {
  const settings = lines
    .trim()
    .split("\n")
    .map((line) => `'${line.trim()}'`)
    .join(" ");
  return {
    how: `
for unit in ${units.join(" ")}; do
  mkdir -p /etc/systemd/system/$unit.d
  printf '%s\\n' '[Service]' ${settings} >/etc/systemd/system/$unit.d/99-broken.conf
done
systemctl daemon-reload`,
    undo: `
for unit in ${units.join(" ")}; do rm -r /etc/systemd/system/$unit.d; done
systemctl daemon-reload`,
  };
}

const listens = (port: number | string) =>
  `for i in $(seq 200); do ss -Hltn "sport = :${port}" | grep -q . && break; sleep 0.1; done`;
const PORTS = [GATEWAY_PORT, GUARD_PORT, ...["agent/ann", "agent/bob", "model/demo"].map(portOf)];
function portOf(id: string): number {
  return principalPort(principalUid(id as PrincipalId));
}

/** Restarts units, with those bound to them, until all serve again; however often that was done within the start limit. */
const restart = (...units: string[]) => `
systemctl reset-failed ${LIVE_UNITS.join(" ")}
systemctl restart ${units.join(" ")}
for port in ${PORTS.join(" ")}; do ${listens("$port")}; done
systemctl start bailiwick-egress bailiwick-resolver`;

const CURRENT = "$(readlink -f /opt/bailiwick/current)";

/** A file of the host, changed by an expression of sed that must change it. */
function edited(file: string, expression: string) {
  const kept = `/root/kept-${file.split("/").at(-1)}`;
  return {
    how: `
cp -p ${file} ${kept}
sed -i '${expression}' ${file}
! cmp -s ${file} ${kept}`,
    undo: `cp -p ${kept} ${file}`,
  };
}

function edit(name: string, breaks: readonly string[], file: string, expression: string, after = ""): Breakage {
  const { how, undo } = edited(file, expression);
  return { name, breaks, how: `${how}\n${after}`, undo: `${undo}\n${after}` };
}

/** An agent's program sets itself a scope, which it may only where it can gain no privileges: without a sandbox it would not start. */
const confine = (from: string, to: string) =>
  ["agents/ann", "agents/bob", "shells/ann"]
    .map((folder) => `sed -i 's/abi >= ${from}:/abi >= ${to}:/' ${CURRENT}/etc/${folder}/confine.py`)
    .join("\n");
const UNCONFINED = { how: confine("6", "600"), undo: confine("600", "6") };

const SOCKETS = "/run/bailiwick-guard/admin.sock /run/bailiwick-mcp/everything.sock /run/bailiwick-mcp/shell.ann.sock";
const SANDBOX_OFF: Breakage = {
  name: "the sandbox is off, and root's files are open",
  breaks: [
    ...all("system-calls", "sockets", "processes", "devices", "root", "shared", "tool-sockets"),
    ...all("read-only", "execution", "secrets"),
    ...each("bind"),
    "root/tool-sockets",
    "agent/ann/other-workspaces",
    "agent/bob/other-workspaces",
    `${SERVER}/other-workspaces`,
    `${SHELL}/other-workspaces`,
    `${SHELL}/agent`,
    "agent/ann/workspace/notes",
    `${SHELL}/workspace/notes`,
    "agent/bob/workspace/private",
    "root/unit-files",
    "root/components",
    "root/temporary-mounts",
    "root/credential-files",
  ],
  ...(() => {
    const { how, undo } = dropIn(
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
    return {
      how: `${how}
${UNCONFINED.how}
chmod 755 /run/bailiwick-guard
chmod 666 ${SOCKETS}
chmod 777 /usr/lib/bailiwick
chmod 755 /etc/bailiwick/credentials
mount -o remount,exec /tmp`,
      undo: `${undo}
${UNCONFINED.undo}
chmod 600 ${SOCKETS}
chmod 700 /run/bailiwick-guard
chmod 755 /usr/lib/bailiwick
chmod 700 /etc/bailiwick/credentials
mount -o remount,noexec /tmp`,
    };
  })(),
};

// the files are put back at once: it is in the kernel that the refusals are missing
const BASE = edited("/usr/lib/bailiwick/base.nft", "/jump.refuse/d");
const RULES = edited(`${CURRENT}/etc/firewall.nft`, "/jump.refuse/d");
const FIREWALL_OPEN: Breakage = {
  name: "the firewall refuses nothing",
  breaks: [
    ...each("direct", "ports", "sshd", "metadata"),
    ...PRINCIPALS.filter((id) => id !== "egress").map((id) => `${id}/dns`),
    "agent/ann/connect/10.20.30.40/22",
    "root/firewall-rules",
  ],
  how: `${BASE.how}\n${RULES.how}\n${restart("bailiwick-firewall")}\n${BASE.undo}\n${RULES.undo}`,
  undo: restart("bailiwick-firewall"),
};

/** Of use to it only while the firewall refuses nothing. */
const OFFLINE_NETWORKED: Breakage = {
  name: "an MCP server and a shell have the host's network",
  breaks: OFFLINE.map((id) => `${id}/network`),
  ...dropIn(
    OFFLINE.map((id) => `${unit(id)}-probe@.service`),
    "PrivateNetwork=no\nRestrictAddressFamilies=",
  ),
};

const STRAY_TABLE: Breakage = {
  name: "a table stands beside the kit's",
  breaks: ["root/firewall-tables"],
  how: "nft add table inet stray",
  undo: "nft delete table inet stray",
};

const NO_SCOPE = edit(
  "an agent is started without a scope of its own",
  ["agent/ann/shared", "root/release"],
  `${CURRENT}/etc/agents/ann/confine.py`,
  "s/abi >= 6:/abi >= 600:/",
);

const ZONE = "*.wild.example.com";
const EVERY_NAME = edit(
  "the egress proxy takes every name",
  ["agent/ann/ungranted-names", "agent/ann/no-name", `agent/ann/wildcard/${ZONE}`, "root/release"],
  `${CURRENT}/etc/egress/haproxy.cfg`,
  // what has no name is no plain one either
  "/reject if !\\(listed\\|plain\\)/d",
  restart("bailiwick-egress"),
);

const NO_NAME = edit(
  "the egress proxy knows no name",
  ["agent/ann/name/news.example.com", "root/release"],
  `${CURRENT}/etc/egress/haproxy.cfg`,
  "s/news.example.com/other.example.com/",
  restart("bailiwick-egress"),
);

const RESOLVER_STOPPED: Breakage = {
  name: "the resolver of wildcards is stopped",
  breaks: [`agent/ann/wildcard/${ZONE}`],
  how: "systemctl stop bailiwick-resolver",
  undo: "systemctl start bailiwick-resolver",
};

/** A secret that its readers are not given: an agent's own unit, and the sandbox of a server in which it is tried. */
const SECRET_TAKEN: Breakage = {
  name: "a secret is not given to whom it is granted",
  breaks: ["agent/bob/secret/team", "agent/bob/credentials", `${SERVER}/secret/team`],
  ...(() => {
    const agent = dropIn([`${unit("agent/bob")}.service`], "LoadCredentialEncrypted=");
    const server = dropIn([`${unit(SERVER)}-probe@.service`], "SetCredential=");
    const again = restart(unit("agent/bob"));
    return { how: `${agent.how}\n${server.how}\n${again}`, undo: `${agent.undo}\n${server.undo}\n${again}` };
  })(),
};

const SECRET_SHOWN: Breakage = {
  name: "another's sandbox shows a secret",
  breaks: ["agent/bob/secret/team"],
  ...(() => {
    const shown = `/run/credentials/${unit("agent/bob")}.service/secret.team`;
    const { how, undo } = dropIn([`${unit("agent/ann")}-probe@.service`], `BindReadOnlyPaths=/root/leaked:${shown}`);
    return { how: `install -m 0444 /dev/null /root/leaked\n${how}`, undo: `${undo}\nrm /root/leaked` };
  })(),
};

const SECRET_TO_ANOTHER: Breakage = {
  name: "an agent's unit is given another's secret",
  breaks: ["agent/ann/credentials"],
  ...dropIn(
    [`${unit("agent/ann")}.service`],
    "LoadCredentialEncrypted=secret.team:/etc/bailiwick/credentials/secret.team/none.cred",
  ),
};

const GATEWAY_STOPPED: Breakage = {
  name: "the gateway is stopped",
  breaks: ["agent/ann/model/demo"],
  how: "systemctl stop bailiwick-gateway",
  undo: restart("bailiwick-gateway"),
};

const GATEWAY_OPEN = edit(
  "the gateway's configuration grants more",
  ["root/gateway-grants", "root/gateway-in-force", "root/release"],
  `${CURRENT}/etc/gateway/gateway.json`,
  's/"models":\\["demo"/"models":["demo","other"/',
);

const GUARD_STOPPED: Breakage = {
  name: "the guard is stopped",
  breaks: ["agent/ann/tools/everything", "agent/ann/tools/shell"],
  how: "systemctl stop bailiwick-guard",
  undo: restart("bailiwick-guard"),
};

const GUARD_FILE = `${CURRENT}/etc/guard/guard.json`;
const GUARD_OPEN = edit(
  "the guard's configuration grants a tool to another",
  ["root/tool-grants", "root/release"],
  GUARD_FILE,
  's/"agent":"ann","tools"/"agent":"bob","tools"/',
);

const ASK_FOR_TOOLS = `
import json, time, urllib.error, urllib.request
token = open("/run/credentials/bailiwick-agent-ann.service/agent.ann.mcp-token").read()
headers = {"authorization": "Bearer " + token, "content-type": "application/json", "accept": "application/json, text/event-stream"}
start = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
body = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": start}).encode()
for left in range(20):
    try:
        urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:${GUARD_PORT}/everything", body, headers)).read()
        break
    except urllib.error.URLError:
        if left == 19: raise
        time.sleep(0.5)
time.sleep(8)`;
const SERVER_FILE = "file=$(grep -rlF --include=echo.js 'Echoes back the input' /opt/bailiwick/components)";
const SERVER_AGAIN = "systemctl stop 'bailiwick-mcp-everything@*'";
const DRIFTED: Breakage = {
  name: "an MCP server's tools are not the reviewed ones",
  breaks: ["root/tool-drift"],
  how: `
${SERVER_FILE}
cp -p "$file" /root/kept-echo.js
sed -i 's/Echoes back the input/& to somebody/' "$file"
! cmp -s "$file" /root/kept-echo.js
${SERVER_AGAIN}
python3 -I - <<'ASK' || { journalctl -u bailiwick-guard -n 20 --no-pager -o cat; exit 1; }${ASK_FOR_TOOLS}
ASK`,
  undo: `
${SERVER_FILE}
cp -p /root/kept-echo.js "$file"
${SERVER_AGAIN}
${restart("bailiwick-guard")}`,
};

const NOTES = "/var/lib/bailiwick/workspaces/notes";
const PRIVATE = "/var/lib/bailiwick/workspaces/private";
const WORKSPACES_CLOSED: Breakage = {
  name: "workspaces are closed to whom they are granted",
  breaks: [
    "agent/ann/workspace/notes",
    "agent/bob/workspace/private",
    `${SERVER}/workspace/notes`,
    `${SHELL}/workspace/notes`,
    "root/workspace-acls",
  ],
  how: `
getfacl -p ${NOTES} ${PRIVATE} >/root/acls
setfacl -b ${NOTES} ${PRIVATE}
chmod 700 ${NOTES} ${PRIVATE}`,
  undo: "setfacl --restore=/root/acls",
};

const WORKSPACE_COPIED: Breakage = {
  name: "a shell sees another directory in a workspace's place",
  breaks: [`${SHELL}/live/notes`],
  ...(() => {
    const sandbox = `${CURRENT}/units/${unit(SHELL)}-probe@.service.d/50-sandbox.conf`;
    const { how, undo } = edited(sandbox, `s#^BindPaths=${NOTES}:#BindPaths=/var/lib/bailiwick/copied:#`);
    return {
      how: `mkdir /var/lib/bailiwick/copied\n${how}\nsystemctl daemon-reload`,
      undo: `${undo}\nsystemctl daemon-reload\nrmdir /var/lib/bailiwick/copied`,
    };
  })(),
};

const WORKSPACE_OPEN: Breakage = {
  name: "a workspace to read is open to write",
  breaks: ["agent/bob/workspace/notes", "root/workspace-acls"],
  ...(() => {
    const { how, undo } = edited(
      `${CURRENT}/units/${unit("agent/bob")}-probe@.service.d/50-sandbox.conf`,
      `s#^BindReadOnlyPaths=${NOTES}:#BindPaths=${NOTES}:#`,
    );
    return {
      how: `${how}
systemctl daemon-reload
getfacl -p ${NOTES} >/root/acls
setfacl -m u:bw-agent-bob:rwx ${NOTES}`,
      undo: `${undo}
systemctl daemon-reload
setfacl --restore=/root/acls`,
    };
  })(),
};

const UNITS_OPEN: Breakage = {
  name: "the units run with half a sandbox and a secret in clear",
  breaks: [
    "agent/ann/limits",
    "agent/bob/limits",
    `${SHELL}/limits`,
    ...each("live-process"),
    ...all("exposure", "credentials"),
    "root/unit-files",
  ],
  ...(() => {
    const { how, undo } = dropIn(
      [...LIVE_UNITS, ...OFFLINE_UNITS],
      `NoNewPrivileges=no
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
       MemoryMax=infinity
       SetCredential=key:clear`,
    );
    return {
      how: `${how}\n${UNCONFINED.how}\n${restart(...LIVE_UNITS)}`,
      undo: `${undo}\n${UNCONFINED.undo}\n${restart(...LIVE_UNITS)}`,
    };
  })(),
};

const UNIT_FAILED: Breakage = {
  name: "a unit has failed",
  breaks: ["root/failed-units"],
  how: "systemd-run --quiet --wait --unit=doomed false || true",
  undo: "systemctl reset-failed doomed",
};

const OTHER_BASELINE = edit(
  "first boot was another's",
  ["root/baseline"],
  "/etc/bailiwick/baseline.json",
  's/"digest":"......../"digest":"00000000/',
);

const OTHER_SPEC = edit(
  "the release is another spec's",
  ["root/spec"],
  `${CURRENT}/manifest.json`,
  's/"spec": "......../"spec": "00000000/',
);

const SET_UID: Breakage = {
  name: "the data volume takes set-uid programs",
  breaks: ["root/data-volume"],
  how: "mount -o remount,suid /var/lib/bailiwick",
  undo: "mount -o remount,nosuid /var/lib/bailiwick",
};

const FORWARDS: Breakage = {
  name: "the kernel forwards",
  breaks: ["root/kernel-settings"],
  how: `
mount -o remount,bind,rw /proc/sys
echo 1 >/proc/sys/net/ipv4/ip_forward`,
  undo: `
echo 0 >/proc/sys/net/ipv4/ip_forward
mount -o remount,bind,ro /proc/sys`,
};

const LISTENER: Breakage = {
  name: "something else listens",
  breaks: ["root/listeners"],
  how: `systemd-run --quiet --unit=listener /usr/bin/python3 -I -m http.server --bind 0.0.0.0 8088\n${listens(8088)}`,
  undo: "systemctl stop listener",
};

const NO_UPKEEP: Breakage = {
  name: "no updates, no restart, no time, no journal on disk",
  breaks: ["root/updates", "root/patches", "root/clock", "root/journal"],
  how: `
systemctl disable --quiet apt-daily-upgrade.timer
touch -d '3 days ago' /run/reboot-required
systemctl mask --quiet systemd-timesyncd
mkdir -p /etc/systemd/journald.conf.d
printf '[Journal]\\nStorage=volatile\\n' >/etc/systemd/journald.conf.d/zz-broken.conf
mv /var/log/journal /var/log/journal.kept
systemctl restart systemd-journald`,
  undo: `
systemctl enable --quiet apt-daily-upgrade.timer
rm /run/reboot-required
systemctl unmask --quiet systemd-timesyncd
rm /etc/systemd/journald.conf.d/zz-broken.conf
mv /var/log/journal.kept /var/log/journal
systemctl restart systemd-journald`,
};

const STRANGERS: Breakage = {
  name: "a principal has a shell and sudo, and a stranger a key",
  breaks: ["root/accounts", "root/sudo", "root/admin-keys"],
  how: `
sed -i '/^bw-agent-ann:/s#/usr/sbin/nologin#/bin/bash#' /etc/passwd
echo 'bw-agent-ann ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/broken
echo 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBSCKxlmuLk7hEAPGlDi3Nt0SGKpo7mRRT4VpR0LsCkE mallory' >/etc/ssh/authorized_keys.d/mallory`,
  undo: `
sed -i '/^bw-agent-ann:/s#/bin/bash#/usr/sbin/nologin#' /etc/passwd
rm /etc/sudoers.d/broken /etc/ssh/authorized_keys.d/mallory`,
};

const CLOUD_INIT: Breakage = {
  name: "cloud-init still has a key, and would run again",
  breaks: ["root/host-key"],
  how: `
mkdir -p /var/lib/cloud/instance
echo '-----BEGIN OPENSSH PRIVATE KEY-----' >/var/lib/cloud/instance/user-data.txt
rm /etc/cloud/cloud-init.disabled`,
  undo: `
rm -r /var/lib/cloud/instance
touch /etc/cloud/cloud-init.disabled`,
};

// ready when the command is done, which a reload is not; sessions stay
const SSHD_AGAIN = "systemctl restart ssh";
const SSHD_OPEN: Breakage = {
  name: "sshd lets root in, takes passwords, and forwards",
  breaks: ["root/sshd", "outside/password", "outside/root", "outside/forwarding", "root/admin-keys"],
  how: `
printf '%s\\n' 'PermitRootLogin yes' 'PasswordAuthentication yes' 'AuthenticationMethods any' 'DisableForwarding no' 'AllowGroups *' >/etc/ssh/sshd_config.d/00-broken.conf
cat /etc/ssh/authorized_keys.d/* >/root/keys
cp /root/keys /etc/ssh/authorized_keys.d/root
${SSHD_AGAIN}`,
  undo: `
rm /etc/ssh/sshd_config.d/00-broken.conf /etc/ssh/authorized_keys.d/root
${SSHD_AGAIN}`,
};

export const BREAKAGES: readonly Breakage[] = [
  SANDBOX_OFF,
  atOnce(FIREWALL_OPEN, OFFLINE_NETWORKED, STRAY_TABLE, SECRET_SHOWN),
  atOnce(EVERY_NAME, SECRET_TAKEN, SECRET_TO_ANOTHER, GATEWAY_OPEN, GUARD_OPEN, WORKSPACE_COPIED),
  DRIFTED,
  atOnce(NO_SCOPE, NO_NAME, RESOLVER_STOPPED, GATEWAY_STOPPED, GUARD_STOPPED, WORKSPACES_CLOSED),
  atOnce(UNITS_OPEN, WORKSPACE_OPEN),
  atOnce(UNIT_FAILED, OTHER_BASELINE, OTHER_SPEC, SET_UID, FORWARDS, LISTENER, NO_UPKEEP, STRANGERS, CLOUD_INIT),
  SSHD_OPEN,
];
