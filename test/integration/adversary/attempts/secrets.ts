import { ABSENT, type Attempt } from "../attempt.ts";

const HIDDEN = "the sandbox does not show it, and it is root's";
const root = { control: "root", meets: ABSENT } as const;
const reads = (name: string, path: string): Attempt => ({ ...root, name, stoppedBy: HIDDEN, code: `read("${path}")` });

/** Keys and what holds them. */
export const SECRETS: readonly Attempt[] = [
  reads("read the sealed credentials", "/etc/bailiwick/credentials"),
  reads("read the key that seals credentials", "/var/lib/systemd/credential.secret"),
  reads("read the gateway's credentials", "/run/credentials/bailiwick-gateway.service"),
  reads("read its neighbour's credentials", "/run/credentials/bailiwick-agent-neighbour.service"),
  reads("read the guard's configuration", "/opt/bailiwick/current/etc/guard/guard.json"),
  reads("read the gateway's configuration", "/opt/bailiwick/current/etc/gateway/gateway.json"),
  reads("read the gateway's ledger", "/var/lib/bailiwick/gateway"),
  reads("read what cloud-init left", "/var/lib/cloud"),
  reads("read what cloud-init left in memory", "/run/cloud-init"),
  reads("read the host's SSH key", "/etc/ssh/ssh_host_ed25519_key"),
  reads("read the passwords' hashes", "/etc/shadow"),
  reads("read the admins' keys", "/etc/ssh/authorized_keys.d"),
  reads("read the rules of the firewall", "/opt/bailiwick/current/etc/firewall.nft"),
  {
    ...root,
    name: "read the gateway's environment",
    stoppedBy: "ProtectProc=invisible",
    code: 'assert open(f"/proc/{E[\'gatewayPid\']}/environ", "rb").read()',
  },
  {
    ...root,
    name: "read the gateway's memory",
    stoppedBy: "ProtectProc=invisible",
    code: "os.close(os.open(f\"/proc/{E['gatewayPid']}/mem\", os.O_RDONLY))",
  },
  {
    ...root,
    name: "unseal a credential",
    stoppedBy: HIDDEN,
    meets: /^exit/,
    code: 'import glob; run("systemd-creds", "decrypt", sorted(glob.glob("/etc/bailiwick/credentials/agent.puppet.virtual-key*") + ["/etc/bailiwick/credentials/none"])[0], "/dev/null")',
    controlCode:
      'import glob; found = sorted(p for p in glob.glob("/etc/bailiwick/credentials/**", recursive=True) if os.path.isfile(p) and "virtual-key" in p)[0]; run("systemd-creds", "decrypt", "--name=", found, "/dev/null")',
  },
  {
    control: "root",
    name: "call a model with a key that is none",
    stoppedBy: "the gateway: a virtual key by its hash",
    meets: /^HTTP 401/,
    code: 'status, _, text = post(4000, "/demo/v1/chat/completions", {"model": "demo", "messages": [{"role": "user", "content": "x"}]}, {"authorization": "Bearer dummy"}); must(status, text)',
    controlCode:
      'status, _, text = post(4000, "/demo/v1/chat/completions", {"model": "demo", "messages": [{"role": "user", "content": "x"}]}, {"authorization": "Bearer " + E["key"]}); must(status, text)',
  },
  {
    control: "root",
    name: "call a model that was granted to its neighbour",
    stoppedBy: "the gateway: models by grant",
    meets: /^HTTP 40[34]/,
    code: 'status, _, text = post(4000, "/second/v1/chat/completions", {"model": "demo", "messages": [{"role": "user", "content": "x"}]}, {"authorization": "Bearer " + key()}); must(status, text)',
    controlCode:
      'status, _, text = post(4000, "/second/v1/chat/completions", {"model": "demo", "messages": [{"role": "user", "content": "x"}]}, {"authorization": "Bearer " + E["neighbourKey"]}); must(status, text)',
  },
];
