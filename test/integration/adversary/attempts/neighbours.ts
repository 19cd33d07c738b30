import { ABSENT, type Attempt, FILTERED, REFUSED } from "../attempt.ts";

const OWNED = "the firewall: a loopback port is its owner's, root's, and of whom it is granted to";
const PROC = "ProtectProc=invisible: no process of another user is in its /proc";
const KERNEL_UID = "its own uid";
const SCOPE = "Landlock's scope: no abstract unix socket of another principal";
const HIDDEN = "the sandbox: nothing of /run and of the data volume but its own";

const root = { control: "root" } as const;
const user = { control: "user" } as const;

/** What belongs to other principals of the host. */
export const NEIGHBOURS: readonly Attempt[] = [
  {
    ...root,
    name: "give its neighbour an order on the neighbour's own port",
    stoppedBy: OWNED,
    meets: REFUSED,
    code: 'status, _, text = post(E["neighbourPort"], "/v1/chat/completions", {"messages": [{"role": "user", "content": "sh id -un"}]}); must(status); assert "bw-agent-neighbour" in text',
  },
  {
    ...root,
    name: "read what the gateway counts",
    stoppedBy: OWNED,
    meets: REFUSED,
    code: 'tcp("127.0.0.1", 4001, b"GET /spend HTTP/1.0\\r\\n\\r\\n")',
  },
  {
    ...root,
    name: "reach a model past the gateway",
    stoppedBy: OWNED,
    meets: REFUSED,
    code: 'tcp("127.0.0.1", E["modelPort"])',
  },
  {
    ...user,
    name: "reach the host's sshd on loopback",
    stoppedBy: OWNED,
    meets: REFUSED,
    code: 'tcp("127.0.0.1", 22, b"")',
  },
  {
    ...user,
    name: "reach the host's sshd on loopback by IPv6",
    stoppedBy: OWNED,
    meets: REFUSED,
    code: 'tcp("::1", 22, b"")',
  },
  {
    ...user,
    name: "reach the host's sshd by another loopback address",
    stoppedBy: OWNED,
    meets: REFUSED,
    code: 'tcp("127.9.9.9", 22, b"")',
  },
  {
    ...user,
    name: "reach the host's sshd by an address of the host",
    stoppedBy: "the base table",
    meets: REFUSED,
    code: 'tcp(E["near4"], 22, b"")',
  },
  {
    ...user,
    name: "serve on a port that is not its own",
    stoppedBy: "SocketBindDeny=any",
    meets: REFUSED,
    code: 'socket.socket().bind(("127.0.0.1", 8123))',
  },
  {
    ...user,
    name: "serve on the guard's port at another loopback address",
    stoppedBy: "SocketBindDeny=any",
    meets: REFUSED,
    code: 'socket.socket().bind(("127.0.0.2", E["guardPort"]))',
  },
  {
    ...user,
    name: "receive UDP on a port of its choice",
    stoppedBy: "SocketBindDeny=any",
    meets: REFUSED,
    code: 'socket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind(("0.0.0.0", 5353))',
  },
  {
    ...root,
    name: "read its neighbour's environment",
    stoppedBy: PROC,
    meets: ABSENT,
    code: 'assert b"NEIGHBOUR_SECRET" in open(f"/proc/{E[\'neighbourPid\']}/environ", "rb").read()',
  },
  {
    ...root,
    name: "read its neighbour's memory",
    stoppedBy: PROC,
    meets: ABSENT,
    code: `
where = int(open(f"/proc/{E['neighbourPid']}/maps").readline().split("-")[0], 16)
with open(f"/proc/{E['neighbourPid']}/mem", "rb", buffering=0) as f:
    f.seek(where)
    assert f.read(64)`,
  },
  {
    ...root,
    name: "read its neighbour's memory by process_vm_readv",
    stoppedBy: "the filter of system calls",
    meets: FILTERED,
    code: `
buffer = ctypes.create_string_buffer(64)
where = int(open(f"/proc/{E['neighbourPid']}/maps").readline().split("-")[0], 16) if os.path.exists(f"/proc/{E['neighbourPid']}/maps") else 0x400000
local = struct.pack("PN", ctypes.addressof(buffer), 64)
remote = struct.pack("PN", where, 64)
call(310, E["neighbourPid"], local, 1, remote, 1, 0)`,
  },
  {
    ...root,
    name: "read a file that its neighbour has open",
    stoppedBy: PROC,
    meets: ABSENT,
    code: 'assert any("siege-held" in os.readlink(f"/proc/{E[\'holderPid\']}/fd/{fd}") for fd in os.listdir(f"/proc/{E[\'holderPid\']}/fd"))',
  },
  {
    ...root,
    name: "look at the disk through its neighbour's root",
    stoppedBy: PROC,
    meets: ABSENT,
    code: "read(f\"/proc/{E['neighbourPid']}/root/etc/bailiwick/agent\")",
  },
  {
    ...root,
    name: "look at the disk through init's root",
    stoppedBy: PROC,
    meets: ABSENT,
    code: 'read("/proc/1/root/etc/shadow")',
  },
  {
    ...root,
    name: "signal its neighbour",
    stoppedBy: KERNEL_UID,
    meets: /^(EPERM|ESRCH)/,
    code: 'os.kill(E["holderPid"], 0)',
  },
  {
    ...root,
    name: "change its neighbour's limits",
    stoppedBy: "the filter of system calls, its own uid",
    meets: FILTERED,
    code: 'call(302, E["holderPid"], 7, struct.pack("QQ", 512, 512), 0)',
  },
  {
    ...root,
    name: "slow its neighbour down by its priority",
    stoppedBy: "the filter of system calls, its own uid",
    meets: FILTERED,
    code: 'os.setpriority(os.PRIO_PROCESS, E["holderPid"], 1)',
  },
  {
    ...root,
    name: "freeze its neighbour by its control group",
    stoppedBy: "ProtectControlGroups=",
    meets: ABSENT,
    code: 'append("/sys/fs/cgroup/system.slice/bailiwick-agent-neighbour.service/cgroup.freeze")',
  },
  {
    ...root,
    name: "trace its neighbour",
    stoppedBy: "the filter of system calls",
    meets: FILTERED,
    code: 'call(101, 0x4206, E["holderPid"], 0, 0); os.kill(E["holderPid"], 0)',
  },
  {
    ...root,
    name: "enter its neighbour's namespaces",
    stoppedBy: PROC,
    meets: ABSENT,
    code: "call(308, os.open(f\"/proc/{E['neighbourPid']}/ns/ipc\", os.O_RDONLY), 0)",
  },
  {
    ...root,
    name: "read its neighbour's home",
    stoppedBy: HIDDEN,
    meets: ABSENT,
    code: 'read("/var/lib/bailiwick/agents/neighbour/home/siege-secret")',
  },
  {
    ...root,
    name: "connect to a socket in its neighbour's home",
    stoppedBy: HIDDEN,
    meets: ABSENT,
    code: 'unix("/var/lib/bailiwick/agents/neighbour/home/siege.sock")',
  },
  {
    ...user,
    name: "connect to its neighbour's abstract socket",
    stoppedBy: SCOPE,
    meets: /^EPERM/,
    code: 'unix("\\0siege-neighbour")',
  },
  {
    ...user,
    name: "send a datagram to its neighbour's abstract socket",
    stoppedBy: SCOPE,
    meets: /^EPERM/,
    code: 'socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"x", "\\0siege-neighbour-datagram")',
  },
  {
    ...user,
    name: "connect to an abstract socket of the system",
    stoppedBy: SCOPE,
    meets: /^EPERM/,
    code: 'unix("\\0siege-system")',
  },
  {
    ...user,
    name: "exchange files with others in /tmp",
    stoppedBy: "PrivateTmp=",
    meets: ABSENT,
    code: 'read("/tmp/siege-open")',
  },
  {
    ...user,
    name: "exchange files with others in /var/tmp",
    stoppedBy: "PrivateTmp=",
    meets: ABSENT,
    code: 'read("/var/tmp/siege-open")',
  },
  {
    ...user,
    name: "exchange files with others in /dev/shm",
    stoppedBy: "a /dev/shm of its own",
    meets: ABSENT,
    code: 'read("/dev/shm/siege-open")',
  },
  {
    ...user,
    name: "leave a file for others in /dev/shm",
    stoppedBy: "a /dev/shm of its own",
    meets: /^not seen/,
    code: `
path = f"/dev/shm/siege-left-{os.getuid()}"
open(path, "w").close()
if os.stat("/dev/shm").st_dev != E["shmDevice"]:
    os.unlink(path)
    raise Stopped("not seen by others: another file system")
os.unlink(path)`,
  },
  {
    ...user,
    name: "attach shared memory that is open to everybody",
    stoppedBy: "PrivateIPC=",
    meets: /^(EINVAL|EIDRM)/,
    code: 'call(30, E["sharedMemory"], 0, 0)',
  },
  {
    ...user,
    name: "read a message queue that is open to everybody",
    stoppedBy: "PrivateIPC=",
    meets: ABSENT,
    code: 'call(240, b"siege-queue", os.O_RDONLY, 0, 0)',
  },
  {
    ...root,
    name: "steer the egress proxy by its administration",
    stoppedBy: HIDDEN,
    meets: ABSENT,
    code: 'unix("/run/bailiwick-egress/admin.sock", b"show info\\n")',
  },
  {
    ...root,
    name: "hold a lock on its neighbour's files",
    stoppedBy: HIDDEN,
    meets: ABSENT,
    code: 'fcntl.flock(os.open("/var/lib/bailiwick/agents/neighbour/home/siege-secret", os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)',
  },
];
