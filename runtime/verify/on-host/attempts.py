# What a probe may try, and nothing else: each attempt is done once, undone, and told as {ok, errno, value, ms}.
# Runs as root, and in the sandbox of each principal. Standard library only.
import errno, hashlib, json, os, platform, shutil, signal, socket, stat, struct, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor

SECONDS = 3.0
NETWORK = {"connect", "tls", "http", "http-text", "udp", "resolve"}
TEXT_BYTES = 1 << 20


class Refused(Exception):
    """The attempt failed with a name for why, and perhaps something to tell."""

    def __init__(self, name, value=None):
        self.name, self.value = name, value


def family(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def opened(host, port):
    s = socket.socket(family(host), socket.SOCK_STREAM)
    s.settimeout(SECONDS)
    try:
        s.connect((host, port))
    except BaseException:
        s.close()
        raise
    return s


def connect(host, port):
    opened(host, port).close()


def tls(host, port, name):
    import ssl

    context = ssl.create_default_context()
    # what answers is not the question here, only whether it is reached
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with opened(host, port) as s:
        try:
            context.wrap_socket(s, server_hostname=name).close()
        except (ssl.SSLError, OSError) as error:
            raise Refused("HANDSHAKE", str(error))


def http_status(port, path, headers):
    lines = [f"GET {path} HTTP/1.1", f"host: 127.0.0.1:{port}", "connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with opened("127.0.0.1", port) as s:
        s.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = b""
        while len(answer) < 4096 and (chunk := s.recv(4096)):
            answer += chunk
    try:
        return int(answer.split(b" ", 2)[1])
    except (IndexError, ValueError):
        raise Refused("NOT_HTTP")


def http_text(port, path):
    """What a server on this host answers, of at most 64 KiB."""
    import http.client

    call = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        call.request("GET", path)
        answer = call.getresponse()
        if answer.status != 200:
            raise Refused(f"HTTP_{answer.status}")
        return answer.read(65536).decode()
    except http.client.HTTPException:
        raise Refused("NOT_HTTP")
    finally:
        call.close()


def udp(host, port):
    """Whether a datagram leaves; an answer is waited for only to hear of a refusal."""
    with socket.socket(family(host), socket.SOCK_DGRAM) as s:
        s.settimeout(0.5)
        s.connect((host, port))
        s.send(b"bailiwick")
        try:
            s.recv(1)
        except socket.timeout:
            pass


def resolve(name):
    return sorted({found[4][0] for found in socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)})


def bind(host, port):
    with socket.socket(family(host), socket.SOCK_STREAM) as s:
        s.bind((host, port))


def serve_as(uid, host, port):
    """Whether a user who listens on a port is heard: by root, from whom no rule keeps it."""
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            with socket.socket(family(host), socket.SOCK_STREAM) as s:
                s.bind((host, port))
                s.listen()
                os.write(tell, b"1")
                time.sleep(10)
        finally:
            os._exit(0)
    try:
        os.close(tell)
        if os.read(ready, 1) == b"":
            raise Refused("CANNOT_LISTEN")
        with socket.socket(family(host), socket.SOCK_STREAM) as s:
            s.settimeout(1.5)
            s.connect((host, port))
    finally:
        os.close(ready)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def open_socket(kind):
    make = {
        "raw4": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        "raw6": (socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6),
        "netlink": (socket.AF_NETLINK, socket.SOCK_RAW, 0),
        "packet": (socket.AF_PACKET, socket.SOCK_DGRAM, 0),
        "vsock": (socket.AF_VSOCK, socket.SOCK_STREAM, 0),
    }
    socket.socket(*make[kind]).close()


def unix(path):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        with socket.socket(socket.AF_UNIX, kind) as s:
            try:
                return s.connect(path)
            except OSError as error:
                if error.errno != errno.EPROTOTYPE:
                    raise


def read(path):
    if os.path.isdir(path):
        return sorted(os.listdir(path))[:20]
    with open(path, "rb", buffering=0) as f:
        f.read(1)


def credential(name):
    """Of the unit that this runs in; systemd says where they are."""
    return read(os.path.join(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent"), name))


def append(path):
    os.close(os.open(path, os.O_WRONLY | os.O_APPEND))


def own_name(directory):
    return os.path.join(directory, ".bailiwick-probe-" + os.urandom(6).hex())


def create(directory):
    path = own_name(directory)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    os.unlink(path)


def run_copy(directory):
    """Runs a program that was put there just now."""
    path = own_name(directory)
    try:
        shutil.copyfile("/usr/bin/true", path)
    except OSError as error:
        raise Refused("CANNOT_WRITE", errno.errorcode.get(error.errno))
    try:
        os.chmod(path, 0o700)
        subprocess.run([path], check=True, timeout=10)
    finally:
        os.unlink(path)


CALLS = {
    # name: (x86_64, aarch64, arguments). None of them does harm where it is allowed: each runs in a process of its own.
    "unshare": (272, 97, (0x10000000,)),
    "ptrace": (101, 117, (0, 0, 0, 0)),
    "process_vm_readv": (310, 270, (0, 0, 0, 0, 0, 0)),
    "keyctl": (250, 219, (0, -3, 0)),
    "io_uring_setup": (425, 425, (1, 0)),
    "userfaultfd": (323, 282, (1,)),
    "perf_event_open": (298, 241, (0, 0, -1, -1, 0)),
    "bpf": (321, 280, (5, 0, 0)),
    "personality": (135, 92, (0x0400000,)),
    "mount": (165, 40, (0, 0, 0, 0, 0)),
    "init_module": (175, 105, (0, 0, 0)),
    "memfd_create": (319, 279, (0, 0)),
}


def system_call(name):
    import ctypes

    x86, arm, arguments = CALLS[name]
    number = {"x86_64": x86, "aarch64": arm}.get(platform.machine())
    if number is None:
        raise Refused("UNKNOWN_MACHINE", platform.machine())
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    words = [ctypes.c_long(word) for word in (number, *arguments)]
    if name == "process_vm_readv":
        words[1] = ctypes.c_long(os.getpid())
    end, far = os.pipe()
    child = os.fork()
    if child == 0:
        result = libc.syscall(*words)
        os.write(far, struct.pack("i", 0 if result >= 0 else ctypes.get_errno()))
        os._exit(0)
    os.close(far)
    told = os.read(end, 4)
    os.close(end)
    os.waitpid(child, 0)
    if len(told) != 4:
        raise Refused("KILLED")
    code = struct.unpack("i", told)[0]
    # any other answer is the kernel's own, so the call came through to it
    if code in (errno.EPERM, errno.EACCES, errno.ENOSYS):
        raise OSError(code, name)
    return errno.errorcode.get(code)


def processes():
    """Processes of other users that can be seen here."""
    seen = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{pid}").st_uid != os.getuid():
                seen.append(int(pid))
        except FileNotFoundError:
            pass
    return seen


def block_devices():
    found = []
    for folder, _, names in os.walk("/dev"):
        for name in names:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISBLK(mode) or name in ("mem", "kmem", "port", "kmsg", "fuse", "kvm", "tun"):
                found.append(path)
    return found


def run(argv, seconds):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds)
    texts = [text[:TEXT_BYTES].decode(errors="replace") for text in (done.stdout, done.stderr)]
    value = {"code": done.returncode, "stdout": texts[0], "stderr": texts[1]}
    if done.returncode != 0:
        raise Refused("EXIT", value)
    return value


def text(path):
    with open(path, "rb") as f:
        return f.read(TEXT_BYTES).decode(errors="replace")


def exists(path):
    os.lstat(path)


def tree(path):
    """Every file below: [relative path, mode, sha256 of what it holds]."""
    found = []
    for folder, _, names in os.walk(path):
        for name in names:
            whole = os.path.join(folder, name)
            with open(whole, "rb") as f:
                digest = hashlib.sha256(f.read()).hexdigest()
            found.append([os.path.relpath(whole, path), stat.S_IMODE(os.stat(whole).st_mode), digest])
    return sorted(found)


def not_roots_alone(path):
    """What below is not root's, or may be written by others."""
    found = []

    def look(name):
        status = os.lstat(name)
        shared = status.st_mode & 0o022 and not stat.S_ISLNK(status.st_mode)
        if status.st_uid != 0 or shared:
            found.append(f"{name} ({status.st_uid}, {stat.S_IMODE(status.st_mode):04o})")

    os.lstat(path)
    look(path)
    for folder, folders, names in os.walk(path):
        for name in folders + names:
            look(os.path.join(folder, name))
    return found[:20]


def owners(paths):
    """Mode and owner of each path; null for one that is not there."""
    found = {}
    for path in paths:
        try:
            status = os.lstat(path)
            found[path] = {"uid": status.st_uid, "gid": status.st_gid, "mode": stat.S_IMODE(status.st_mode)}
        except FileNotFoundError:
            found[path] = None
    return found


def unit_processes(unit):
    """The processes of a unit as the kernel holds them."""
    shown = subprocess.run(["systemctl", "show", "--value", "-p", "ControlGroup", unit], capture_output=True, text=True)
    group = shown.stdout.strip()
    if not group:
        raise Refused("NOT_RUNNING")
    pids = []
    for folder, _, _ in os.walk("/sys/fs/cgroup" + group):
        with open(os.path.join(folder, "cgroup.procs")) as f:
            pids += f.read().split()
    found = []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status") as f:
                fields = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
            shared = [
                kind
                for kind in ("mnt", "user", "ipc")
                if os.readlink(f"/proc/{pid}/ns/{kind}") == os.readlink(f"/proc/1/ns/{kind}")
            ]
        except FileNotFoundError:
            continue
        wanted = ("Name", "Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
        found.append({"pid": int(pid), "shared": shared, **{name: fields.get(name, "").strip() for name in wanted}})
    return found


def listening():
    """Sockets that wait for others: [protocol, address, port]."""
    found = []
    for protocol, wanted in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        try:
            with open(f"/proc/net/{protocol}") as f:
                lines = f.read().split("\n")[1:]
        except FileNotFoundError:
            continue
        for line in filter(None, lines):
            fields = line.split()
            if fields[3] != wanted:
                continue
            address, port = fields[1].split(":")
            words = [struct.pack("=I", int(address[i : i + 8], 16)) for i in range(0, len(address), 8)]
            shown = socket.inet_ntop(socket.AF_INET6 if len(words) == 4 else socket.AF_INET, b"".join(words))
            found.append([protocol[:3], shown, int(port, 16)])
    return found


ATTEMPTS = {
    "connect": connect,
    "tls": tls,
    "http": http_status,
    "http-text": http_text,
    "udp": udp,
    "resolve": resolve,
    "bind": bind,
    "serve-as": serve_as,
    "socket": open_socket,
    "unix": unix,
    "read": read,
    "credential": credential,
    "append": append,
    "create": create,
    "run-copy": run_copy,
    "system-call": system_call,
    "processes": processes,
    "block-devices": block_devices,
    "run": run,
    "text": text,
    "exists": exists,
    "tree": tree,
    "not-roots-alone": not_roots_alone,
    "owners": owners,
    "unit-processes": unit_processes,
    "listening": listening,
    "time": time.time,
}


def attempt(wanted):
    arguments = {name: value for name, value in wanted.items() if name != "do"}
    started = time.monotonic()
    ok, name, value = False, None, None
    try:
        value = ATTEMPTS[wanted["do"]](**arguments)
        ok = True
    except Refused as error:
        name, value = error.name, error.value
    except (socket.timeout, subprocess.TimeoutExpired):
        name = "ETIMEDOUT"
    except socket.gaierror as error:
        name, value = "UNRESOLVED", str(error)
    except OSError as error:
        name, value = errno.errorcode.get(error.errno, str(error)), str(error)
    except Exception as error:
        name, value = "BROKEN_ATTEMPT", f"{type(error).__name__}: {error}"
    return {"ok": ok, "errno": name, "value": value, "ms": round((time.monotonic() - started) * 1000)}


def attempt_all(wanted):
    """In order, but for what waits on the network: that goes side by side, after everything else (which may fork)."""
    outcomes = {i: attempt(one) for i, one in enumerate(wanted) if one["do"] not in NETWORK}
    waiting = [i for i in range(len(wanted)) if i not in outcomes]
    with ThreadPoolExecutor(8) as pool:
        outcomes.update(zip(waiting, pool.map(lambda i: attempt(wanted[i]), waiting)))
    return [outcomes[i] for i in range(len(wanted))]
