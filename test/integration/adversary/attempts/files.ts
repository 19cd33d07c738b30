import { ABSENT, type Attempt, FILTERED } from "../attempt.ts";

const MOUNTS = "its own mounts: what was not granted is not there";
const READ_ONLY = "a read-only mount";
const APART = "each workspace is a mount of its own";

const root = { control: "root" } as const;
const user = { control: "user" } as const;
const desk = 'E["workspaces"] + "/desk"';

/** Ways out of a workspace. */
export const FILES: readonly Attempt[] = [
  {
    ...root,
    name: "read a workspace that it was not granted",
    stoppedBy: MOUNTS,
    meets: ABSENT,
    code: 'read(E["workspaces"] + "/vault")',
  },
  {
    ...root,
    name: "read a workspace that it was not granted where it is on the host",
    stoppedBy: MOUNTS,
    meets: ABSENT,
    code: 'read("/var/lib/bailiwick/workspaces/vault/siege-secret")',
  },
  {
    ...root,
    name: "leave a workspace by ..",
    stoppedBy: MOUNTS,
    meets: ABSENT,
    code: `read(${desk} + "/../vault/siege-secret")`,
  },
  {
    ...root,
    name: "leave a workspace by .. of a directory that it holds open",
    stoppedBy: MOUNTS,
    meets: ABSENT,
    code: `os.open("../vault/siege-secret", os.O_RDONLY, dir_fd=os.open(${desk}, os.O_RDONLY))`,
  },
  {
    ...root,
    name: "leave a workspace by a symbolic link",
    stoppedBy: MOUNTS,
    meets: ABSENT,
    code: `path = own_name(${desk}); os.symlink("/var/lib/bailiwick/workspaces/vault/siege-secret", path); read(path)`,
  },
  {
    ...root,
    name: "read a file of root's by a symbolic link",
    stoppedBy: "InaccessiblePaths=",
    meets: ABSENT,
    code: `path = own_name(${desk}); os.symlink("/etc/shadow", path); read(path)`,
  },
  {
    ...root,
    name: "read a file of root's by its own descriptor in /proc",
    stoppedBy: MOUNTS,
    meets: ABSENT,
    code: `read(f"/proc/self/fd/{os.open(${desk}, os.O_RDONLY)}/../vault/siege-secret")`,
  },
  {
    ...root,
    name: "win a race of a name between a file and a link out of the workspace",
    stoppedBy: MOUNTS,
    meets: /^never led out/,
    code: `
a, b = own_file(${desk}), own_name(${desk})
os.symlink("../vault/siege-secret", b)
for i in range(400):
    call(316, -100, a.encode(), -100, b.encode(), 2)
    try:
        with open(a) as f:
            if "vault-secret" in f.read():
                break
    except OSError:
        pass
else:
    raise Stopped("never led out")`,
  },
  {
    ...root,
    name: "win a race of a directory between a folder and a link out of the workspace",
    stoppedBy: MOUNTS,
    meets: /^never led out/,
    code: `
a, b = own_name(${desk}), own_name(${desk}) + "-link"
os.mkdir(a)
os.symlink("../vault", b)
led = False
for i in range(400):
    call(316, -100, a.encode(), -100, b.encode(), 2)
    led = led or os.path.exists(a + "/siege-secret")
for path in (a, b):
    os.unlink(path) if os.path.islink(path) else os.rmdir(path)
if not led:
    raise Stopped("never led out")`,
  },
  {
    ...root,
    name: "give another's file a second name in a workspace",
    stoppedBy: MOUNTS,
    meets: ABSENT,
    code: `os.link("/var/lib/bailiwick/agents/neighbour/home/siege-secret", own_name(${desk}))`,
  },
  {
    ...root,
    name: "give a file of a workspace to read a second name where it writes",
    stoppedBy: APART,
    meets: /^(EXDEV|EPERM|EROFS)/,
    code: `os.link(E["workspaces"] + "/library/siege-book", own_name(${desk}))`,
  },
  {
    ...root,
    name: "write a workspace that it may read",
    stoppedBy: READ_ONLY,
    meets: ABSENT,
    code: 'plant(E["workspaces"] + "/library")',
  },
  {
    ...root,
    name: "change a file of a workspace that it may read",
    stoppedBy: READ_ONLY,
    meets: ABSENT,
    code: 'append(E["workspaces"] + "/library/siege-book")',
  },
  {
    ...root,
    name: "change who may read a workspace",
    stoppedBy: "it is root's",
    meets: /^(EPERM|EROFS)/,
    code: `os.chmod(${desk}, stat.S_IMODE(os.stat(${desk}).st_mode))`,
  },
  {
    ...root,
    name: "make a device in a workspace",
    stoppedBy: "the filter of system calls, and nodev",
    meets: FILTERED,
    code: `os.mknod(own_name(${desk}), 0o666 | stat.S_IFCHR, os.makedev(1, 5))`,
  },
  {
    ...root,
    name: "mount a workspace anew to write it",
    stoppedBy: "the filter of system calls",
    meets: FILTERED,
    code: 'call(272, 0x00020000) if os.getuid() == 0 else None; call(165, b"none", (E["bound"] if os.getuid() == 0 else "/workspaces/library").encode(), b"none", 0x1000 | 0x20 | 0, 0)',
    controlCode: 'call(272, 0x00020000); call(165, b"none", b"/var/lib/bailiwick", b"none", 0x20 | 0x1000, 0)',
  },
  {
    ...root,
    name: "bind another folder into a workspace",
    stoppedBy: "the filter of system calls",
    meets: FILTERED,
    code: `path = own_name(${desk}); os.mkdir(path)
try:
    call(272, 0x00020000) if os.getuid() == 0 else None
    call(165, b"/etc", path.encode(), b"none", 0x1000, 0)
    call(166, path.encode(), 2)
finally:
    OWN.remove(path)
    os.rmdir(path)`,
  },
  {
    ...user,
    name: "run a program from a workspace",
    stoppedBy: "NoExecPaths=",
    meets: /^(EACCES|EPERM)/,
    code: `
path = own_file(${desk})
open(path, "wb").write(open("/usr/bin/true", "rb").read())
os.chmod(path, 0o700)
run(path)`,
    controlCode: `
path = own_file(E["execPath"])
open(path, "wb").write(open("/usr/bin/true", "rb").read())
os.chmod(path, 0o700)
run(path)`,
  },
  {
    ...root,
    name: "give a file in a workspace to another user",
    stoppedBy: "an empty capability set",
    meets: FILTERED,
    code: `os.chown(own_file(${desk}), 20999, 20999)`,
  },
];
