import { ABSENT, type Attempt, FILTERED } from "../attempt.ts";

const FILTER = "the filter of system calls";
const NAMESPACES = "RestrictNamespaces=yes";
const CAPABILITIES = "an empty capability set";
const FAMILIES = "RestrictAddressFamilies=";

const root = { control: "root", meets: FILTERED } as const;
const user = { control: "user", meets: FILTERED } as const;

/** What the kernel offers beyond files and sockets. Numbers are those of x86-64. */
export const KERNEL: readonly Attempt[] = [
  { ...user, name: "trace a process of its own", stoppedBy: FILTER, code: "call(101, 0, 0, 0, 0)" },
  { ...user, name: "make a user namespace", stoppedBy: NAMESPACES, code: "call(272, 0x10000000)" },
  {
    ...user,
    name: "make a user namespace by clone3",
    stoppedBy: NAMESPACES,
    code: `
pid = call(435, struct.pack("QQQQQQQQ", 0x10000000, 0, 0, 0, 17, 0, 0, 0), 64)
if pid == 0:
    os._exit(0)
os.waitpid(pid, 0)`,
  },
  { ...root, name: "make a mount namespace", stoppedBy: NAMESPACES, code: "call(272, 0x00020000)" },
  { ...root, name: "make a network namespace", stoppedBy: NAMESPACES, code: "call(272, 0x40000000)" },
  {
    ...root,
    name: "mount a file system",
    stoppedBy: FILTER,
    code: 'os.makedirs("/tmp/siege-mount", exist_ok=True); call(272, 0x00020000) if os.getuid() == 0 else None; call(165, b"none", b"/tmp/siege-mount", b"tmpfs", 0, 0)',
  },
  { ...root, name: "mount by the newer calls", stoppedBy: FILTER, code: 'call(430, b"tmpfs", 0)' },
  { ...root, name: "change its root directory", stoppedBy: FILTER, code: 'os.chroot("/usr")' },
  { ...root, name: "become another user", stoppedBy: CAPABILITIES, meets: /^(EPERM|EINVAL)/, code: "os.setuid(20999)" },
  { ...root, name: "join another group", stoppedBy: CAPABILITIES, meets: /^(EPERM|EINVAL)/, code: "os.setgroups([4])" },
  {
    ...user,
    name: "gain root by a set-uid program",
    stoppedBy: "NoNewPrivileges=yes",
    meets: /^exit/,
    code: 'run("/usr/local/bin/siege-set-uid", "-I", "-c", "import os, sys; sys.exit(os.geteuid() != 0)")',
  },
  {
    ...user,
    name: "make a set-uid program",
    stoppedBy: "RestrictSUIDSGID=yes",
    code: 'os.chmod(own_file("/tmp"), 0o4755)',
  },
  {
    ...user,
    name: "make a directory that hands on its group",
    stoppedBy: "RestrictSUIDSGID=yes",
    code: 'os.mkdir(own_name("/tmp")); path = OWN.pop(); os.chmod(path, 0o2755); os.rmdir(path)',
  },
  {
    ...root,
    name: "make a device",
    stoppedBy: FILTER,
    code: 'os.mknod(own_name("/tmp"), 0o600 | stat.S_IFCHR, os.makedev(1, 3))',
  },
  {
    ...root,
    name: "open a packet socket",
    stoppedBy: FAMILIES,
    meets: /^(EAFNOSUPPORT|EPERM)/,
    code: "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)",
  },
  {
    ...root,
    name: "open a raw IPv6 socket",
    stoppedBy: CAPABILITIES,
    code: "socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58)",
  },
  {
    ...root,
    name: "take real-time priority",
    stoppedBy: "RestrictRealtime=yes",
    code: "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
  },
  {
    ...user,
    name: "run a program of its own from memory",
    stoppedBy: "the filter of system calls: no memfd",
    code: `
fd = os.memfd_create("siege", 0)
os.write(fd, open("/usr/bin/true", "rb").read())
run(f"/proc/self/fd/{fd}", pass_fds=(fd,))`,
  },
  {
    ...user,
    name: "run a program of its own from /dev/shm",
    stoppedBy: "NoExecPaths=",
    meets: /^(EACCES|EPERM)/,
    code: `
path = own_file(E["execPath"])
open(path, "wb").write(open("/usr/bin/true", "rb").read())
os.chmod(path, 0o700)
run(path)`,
  },
  {
    ...user,
    name: "run a program of its own by the dynamic linker",
    stoppedBy: "NoExecPaths=",
    meets: /^exit .*(failed to map|Permission|not permitted)/s,
    code: `
path = own_file(E["execPath"])
open(path, "wb").write(open("/usr/bin/true", "rb").read())
run("/lib64/ld-linux-x86-64.so.2", path)`,
  },
  {
    ...user,
    name: "see which processes others run",
    stoppedBy: "ProtectProc=invisible",
    meets: /^none/,
    code: `
if not any(os.stat(f"/proc/{pid}").st_uid != os.getuid() for pid in os.listdir("/proc") if pid.isdigit()):
    raise Stopped("none but its own")`,
  },
  {
    ...user,
    name: "read what the kernel tells of the host",
    stoppedBy: "ProcSubset=pid",
    meets: ABSENT,
    code: 'read("/proc/version"); read("/proc/cmdline")',
  },
];
