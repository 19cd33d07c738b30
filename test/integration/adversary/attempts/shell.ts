import { ABSENT, type Attempt, REFUSED, TURNED_AWAY } from "../attempt.ts";

const HIDDEN = "the shell's own mounts: of its agent it has workspaces alone";
const OTHER_UID = "a second uid";
const PROC = "ProtectProc=invisible: its agent is another user";
const OWN_RULES = "the shell's own chain of the firewall";

const root = { control: "root" } as const;
const user = { control: "user" } as const;
const reads = (name: string, path: string): Attempt => ({
  ...root,
  name: `have its shell read ${name}`,
  stoppedBy: HIDDEN,
  meets: ABSENT,
  code: `read("${path}")`,
});

/** What a command of an agent's shell may not have of the agent, tried by the command itself. */
export const SHELL: readonly Attempt[] = [
  reads("the agent's state", "/var/lib/bailiwick/agents/puppet/state"),
  reads("the agent's home", "/var/lib/bailiwick/agents/puppet/home/siege-own"),
  reads("the agent's credentials", "/run/credentials/bailiwick-agent-puppet.service"),
  reads("the agent's sealed virtual key", "/etc/bailiwick/credentials/agent.puppet.virtual-key"),
  reads("the agent's configuration", "/opt/bailiwick/current/etc/agents/puppet"),
  reads("a workspace that the agent was not granted", "/var/lib/bailiwick/workspaces/vault/siege-secret"),
  {
    ...root,
    name: "have its shell read the agent's environment",
    stoppedBy: PROC,
    meets: ABSENT,
    code: 'assert b"CREDENTIALS_DIRECTORY" in open(f"/proc/{E[\'puppetPid\']}/environ", "rb").read()',
  },
  {
    ...root,
    name: "have its shell read the agent's memory",
    stoppedBy: PROC,
    meets: ABSENT,
    code: `
where = int(open(f"/proc/{E['puppetPid']}/maps").readline().split("-")[0], 16)
with open(f"/proc/{E['puppetPid']}/mem", "rb", buffering=0) as f:
    f.seek(where)
    assert f.read(64)`,
  },
  {
    ...root,
    name: "have its shell look at the disk through the agent's root",
    stoppedBy: PROC,
    meets: ABSENT,
    code: "read(f\"/proc/{E['puppetPid']}/root/etc/bailiwick/agent\")",
  },
  {
    ...root,
    name: "have its shell signal the agent",
    stoppedBy: OTHER_UID,
    meets: /^(EPERM|ESRCH)/,
    code: 'os.kill(E["puppetPid"], 0)',
  },
  {
    ...root,
    name: "have its shell ask the agent itself, as an owner would",
    stoppedBy: OWN_RULES,
    meets: REFUSED,
    code: 'tcp("127.0.0.1", E["puppetPort"], b"GET /healthz HTTP/1.0\\r\\n\\r\\n")',
  },
  {
    ...root,
    name: "have its shell reach the model gateway",
    stoppedBy: OWN_RULES,
    meets: REFUSED,
    code: 'tcp("127.0.0.1", 4000, b"GET /healthz HTTP/1.0\\r\\n\\r\\n")',
  },
  {
    ...root,
    name: "have its shell reach the guard, to call tools from there",
    stoppedBy: OWN_RULES,
    meets: REFUSED,
    code: 'tcp("127.0.0.1", E["guardPort"], b"GET /healthz HTTP/1.0\\r\\n\\r\\n")',
  },
  {
    ...root,
    name: "have its shell open another session past the guard",
    stoppedBy: "the shell's socket is the guard's",
    meets: ABSENT,
    code: 'Direct("shell.puppet").tool("run", {"command": "true"})',
  },
  {
    ...user,
    name: "have its shell reach a name that was granted to the agent alone",
    stoppedBy: "the proxy: the shell's own list of names",
    meets: TURNED_AWAY,
    code: 'tls(E["public4"], "granted.example.com")',
  },
  {
    ...user,
    name: "have its shell reach an address that was granted to the agent alone",
    stoppedBy: OWN_RULES,
    meets: REFUSED,
    code: 'tcp(E["private4"], 22)',
  },
  {
    ...user,
    name: "have its shell send packets past the proxy",
    stoppedBy: OWN_RULES,
    meets: REFUSED,
    code: 'tcp(E["public4"], 80)',
  },
  {
    ...root,
    name: "have its shell leave its control group, and so its limits and its end",
    stoppedBy: "ProtectControlGroups=",
    meets: ABSENT,
    code: 'open("/sys/fs/cgroup/system.slice/cgroup.procs", "a").close()',
  },
  {
    ...root,
    name: "have its shell change what it is",
    stoppedBy: "a read-only mount",
    meets: ABSENT,
    code: 'append("/etc/bailiwick/shell/runner.py")',
    controlCode: 'append("/opt/bailiwick/current/etc/shells/puppet/runner.py")',
  },
];
