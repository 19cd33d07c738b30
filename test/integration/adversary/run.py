# Runs attempts, each in a process of its own: `python3 -I run.py <file of attempts> <file of facts>`. An attempt is a piece of
# Python that succeeds by reaching its end; what it raises is what stopped it. Prints {name: {ok, met}} as JSON.
import base64, ctypes, errno, fcntl, json, mmap, os, select, signal, socket, ssl, stat, struct, subprocess, sys, time

SECONDS = 7.0
AT_ONCE = 8


class Stopped(Exception):
    """Stopped by something that is no error of the kernel."""


def fam(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def opened(host, port):
    s = socket.socket(fam(host), socket.SOCK_STREAM)
    s.settimeout(5)
    s.connect((host, port))
    return s


def answer(s, send):
    """What a server says to this; nothing said is a failure."""
    if send:
        s.sendall(send)
    got = s.recv(65536)
    if not got:
        raise Stopped("closed without a word")
    return got.decode("latin1")


GET = b"GET / HTTP/1.0\r\n\r\n"


def tcp(host, port, send=GET):
    with opened(host, port) as s:
        return answer(s, send)


def post(port, path, body, headers={}, host="127.0.0.1"):
    """Status and text of an HTTP answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", f"host: {host}:{port}", "connection: close", f"content-length: {len(data)}"]
    lines += [f"{k}: {v}" for k, v in {"content-type": "application/json", **headers}.items()]
    with opened(host, port) as s:
        try:
            s.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        got = b""
        while chunk := s.recv(65536):
            got += chunk
    if not got:
        raise Stopped("closed without a word")
    head, _, text = got.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), head.decode("latin1"), text.decode(errors="replace")


def must(status, text=""):
    if status >= 400:
        raise Stopped(f"HTTP {status} {text}"[:300])


def context():
    c = ssl.create_default_context()
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    return c


def tls(host, name, port=443):
    with opened(host, port) as s, context().wrap_socket(s, server_hostname=name) as t:
        return answer(t, GET)


def hello(name, into=None):
    """A ClientHello for a name; `into` (as long as it) stands in its place."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    t = context().wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        t.do_handshake()
    except ssl.SSLWantReadError:
        pass
    said = outgoing.read()
    if into is not None:
        assert len(into) == len(name) and said.count(name.encode()) == 1
        said = said.replace(name.encode(), into)
    return said


def shake(s, said):
    """Whether a server takes up the handshake: a record of type 22."""
    got = answer(s, said)
    if not got.startswith("\x16"):
        raise Stopped("turned away by a TLS alert")


def udp(host, port, data=b"bailiwick"):
    with socket.socket(fam(host), socket.SOCK_DGRAM) as s:
        s.settimeout(3)
        s.connect((host, port))
        s.send(data)
        return s.recv(4096)


def question(name):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)


def served(text, by):
    """What was reached says by which address it was served; it must be that of the attack."""
    if f"served by {by}" not in text:
        raise Stopped(f"led elsewhere: {text.splitlines()[-1][:80]}")


def unix(path, send=b"", kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_UNIX, kind) as s:
        s.settimeout(5)
        s.connect(path)
        if send:
            s.sendall(send)


libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def call(number, *arguments):
    """A system call of x86-64."""
    words = [a if isinstance(a, (bytes, ctypes.Array)) else ctypes.c_long(a) for a in arguments]
    result = libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def read(path):
    if os.path.isdir(path):
        return os.listdir(path)
    with open(path, "rb", buffering=0) as f:
        if not f.read(64):
            raise Stopped("empty")


def plant(directory):
    path = os.path.join(directory, f".siege-{os.getpid()}")
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    os.unlink(path)


def append(path):
    os.close(os.open(path, os.O_WRONLY | os.O_APPEND))


def run(*argv, **more):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=6, **more)
    if done.returncode != 0:
        raise Stopped(f"exit {done.returncode}: {(done.stderr + done.stdout).strip()[-200:]}")
    return done.stdout


def own_file(directory):
    """A file of one's own, removed when the attempt ends."""
    path = os.path.join(directory, f".siege-own-{os.getpid()}")
    OWN.append(path)
    with open(path, "w") as f:
        f.write("own")
    return path


def own_name(directory):
    path = os.path.join(directory, f".siege-name-{os.getpid()}")
    OWN.append(path)
    return path


OWN = []


class Mcp:
    """One session with an MCP server behind the guard, by a token."""

    def __init__(self, server, token):
        self.path = f"/{server}"
        self.headers = {"accept": "application/json, text/event-stream", "authorization": f"Bearer {token}"}
        parameters = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "s", "version": "1"}}
        status, head, text = self.send({"id": 0, "method": "initialize", "params": parameters})
        must(status, text)
        found = [line.split(": ", 1)[1] for line in head.split("\r\n") if line.lower().startswith("mcp-session-id: ")]
        self.headers["mcp-session-id"] = found[0]
        self.send({"method": "notifications/initialized"})

    def send(self, message):
        return post(E["guardPort"], self.path, {"jsonrpc": "2.0", **message}, self.headers)

    def ask(self, method, parameters={}):
        status, _, text = self.send({"id": 1, "method": method, "params": parameters})
        must(status, text)
        reply = json.loads(text)
        if "error" in reply or reply["result"].get("isError"):
            raise Stopped(json.dumps(reply)[:400])
        return reply["result"]

    def tool(self, name, arguments):
        return self.ask("tools/call", {"name": name, "arguments": arguments})


class Direct:
    """The same by the socket of the server itself, past the guard."""

    def __init__(self, server):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(6)
        self.s.connect(f"/run/bailiwick-mcp/{server}.sock")
        self.f = self.s.makefile("rb")
        parameters = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "s", "version": "1"}}
        self.ask("initialize", parameters)
        self.s.sendall(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')

    def ask(self, method, parameters={}):
        self.s.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode() + b"\n")
        while line := self.f.readline():
            reply = json.loads(line)
            if reply.get("id") == 1 and "method" not in reply:
                if "error" in reply or reply["result"].get("isError"):
                    raise Stopped(json.dumps(reply)[:400])
                return reply["result"]
        raise Stopped("closed without a word")

    def tool(self, name, arguments):
        return self.ask("tools/call", {"name": name, "arguments": arguments})


def credential(name):
    with open(os.path.join(os.environ["CREDENTIALS_DIRECTORY"], name)) as f:
        return f.read()


def token():
    return credential("agent.puppet.mcp-token")


def key():
    return credential("agent.puppet.virtual-key")


def attempt(code):
    try:
        exec(code, dict(globals()))
        return {"ok": True, "met": "success"}
    except (socket.timeout, subprocess.TimeoutExpired):
        return {"ok": False, "met": "silence"}
    except ssl.SSLError as error:
        return {"ok": False, "met": f"TLS: {error.reason or error}"}
    except socket.gaierror as error:
        return {"ok": False, "met": f"unresolved: {error}"}
    except OSError as error:
        return {"ok": False, "met": f"{errno.errorcode.get(error.errno, error.errno)}: {error}"}
    except Stopped as error:
        return {"ok": False, "met": str(error)}
    except BaseException as error:
        return {"ok": False, "met": f"broken attempt: {type(error).__name__}: {error}"}
    finally:
        for path in OWN:
            if os.path.lexists(path):
                os.unlink(path)


def begin(code):
    end, far = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(end)
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.write(far, json.dumps(attempt(code)).encode())
        os._exit(0)
    os.close(far)
    return pid, end, time.monotonic()


def finish(pid, end):
    told = os.read(end, 65536)
    os.close(end)
    _, status = os.waitpid(pid, 0)
    if told:
        return json.loads(told)
    return {"ok": False, "met": f"killed by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "silence"}


def main():
    waiting = list(json.load(open(sys.argv[1])).items())
    results, running = {}, {}
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            name, code = waiting.pop(0)
            running[name] = begin(code)
        for name, (pid, end, since) in list(running.items()):
            if not select.select([end], [], [], 0)[0]:
                if time.monotonic() - since < SECONDS + 4:
                    continue
                os.kill(pid, signal.SIGKILL)
            results[name] = finish(pid, end)
            if results[name]["met"].startswith("killed by signal 9"):
                results[name]["met"] = "silence"
            del running[name]
        time.sleep(0.02)
    print(json.dumps(results))


E = json.load(open(sys.argv[2]))
main()
