# One session of an agent's shell: speaks MCP with the guard over the connection that systemd hands over as standard input and
# output, and has one tool, which runs a command. Commands of a session run one after the other. When a command has ended, was
# taken back or has had its time, all that is still in this unit's control group is killed; the unit ends with the connection,
# and systemd then kills what is left.
import collections, ctypes, json, os, queue, select, signal, subprocess, sys, threading, time

with open(sys.argv[1]) as f:
    CONFIG = json.load(f)
SUBREAPER, DUMPABLE = 36, 4
ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
# commands are of the same user: without this they could read and change this process by /proc
ctypes.CDLL(None).prctl(DUMPABLE, 0, 0, 0, 0)
with open("/proc/self/cgroup") as f:
    GROUP = "/sys/fs/cgroup" + next(line.strip()[3:] for line in f if line.startswith("0::")) + "/cgroup.procs"
ENVIRONMENT = {"HOME": "/tmp", "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "SHELL": "/bin/sh", "TMPDIR": "/tmp"}

answering = threading.Lock()
asked = queue.SimpleQueue()
# ids of calls that are waiting or under way, each with the pipe that tells that it was taken back
under_way, counting = {}, threading.Lock()


def say(message):
    with answering:
        try:
            sys.stdout.buffer.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            sys.stdout.buffer.flush()
        except OSError:
            leave()


def leave():
    end_others()
    os._exit(0)


def others():
    try:
        with open(GROUP) as f:
            return [int(line) for line in f if int(line) != os.getpid()]
    except OSError:
        os._exit(1)


def end_others():
    """Kills all processes of this session but this one. What cannot be seen dead ends the session, and systemd kills it."""
    for _ in range(500):
        reap()
        left = others()
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.005)
    os._exit(1)


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        pass


class Kept:
    """The beginning and the end of a command's output."""

    def __init__(self, size):
        self.half, self.head, self.tail, self.tail_size, self.left_out = size // 2, bytearray(), collections.deque(), 0, 0

    def add(self, piece):
        room = self.half - len(self.head)
        self.head += piece[:room]
        if rest := piece[room:]:
            self.tail.append(rest)
            self.tail_size += len(rest)
        while self.tail_size > self.half:
            first = self.tail.popleft()
            cut = min(len(first), self.tail_size - self.half)
            if cut < len(first):
                self.tail.appendleft(first[cut:])
            self.tail_size -= cut
            self.left_out += cut

    def text(self):
        # a character may lie across the two parts
        gap = f"\n[{self.left_out} bytes left out]\n".encode() if self.left_out else b""
        return (bytes(self.head) + gap + b"".join(self.tail)).decode(errors="replace")


def run(arguments, taken_back):
    """Runs one command: how it ended, as the tool's schema says it, and its output. Of one that is taken back, `taken_back` can be read."""
    until = time.monotonic() + min(arguments.get("seconds", CONFIG["seconds"]), CONFIG["seconds"])
    child = subprocess.Popen(
        ["/bin/sh", "-c", arguments["command"]],
        cwd=arguments.get("directory", CONFIG["directory"]),
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    kept, output, over = Kept(CONFIG["outputBytes"]), child.stdout.fileno(), os.pidfd_open(child.pid)
    watched, timed_out = {output, over, taken_back}, False
    try:
        while True:
            ready, _, _ = select.select(watched, [], [], max(0, until - time.monotonic()))
            if output in ready and not read(output, kept):
                watched.discard(output)
            if over in ready or taken_back in ready:
                break
            if time.monotonic() >= until:
                timed_out = True
                break
        if over not in ready:
            child.kill()
        status = child.wait()
        end_others()
        # all who could write to it are dead: what is left in the pipe is little, and then it ends
        while read(output, kept):
            pass
    finally:
        os.close(over)
        child.stdout.close()
    ended = {"exitStatus": status if status >= 0 else 128 - status, "timedOut": timed_out, "leftOutBytes": kept.left_out}
    return ended, kept.text()


def read(descriptor, kept):
    piece = os.read(descriptor, 65536)
    kept.add(piece)
    return len(piece) > 0


def told(ended, output):
    """A result in text. The output is in it alone: models are shown both, and would read it twice."""
    how = "ended after its time; " if ended["timedOut"] else ""
    return f"{how}exit status {ended['exitStatus']}\n{output}"


def work():
    while True:
        id, arguments = asked.get()
        taken_back, tell = under_way[id]
        try:
            ended, output = run(arguments, taken_back)
            content = {"content": [{"type": "text", "text": told(ended, output)}], "structuredContent": ended}
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it holds a character that no command can"
            where = f"{error.filename}: " if getattr(error, "filename", None) else ""
            content = {"content": [{"type": "text", "text": f"not run: {where}{why}"}], "isError": True}
        with counting:
            del under_way[id]
            os.close(taken_back)
            os.close(tell)
        say({"id": id, "result": content})


def answer(message):
    id, method, params = message.get("id"), message.get("method"), message.get("params", {})
    if method == "initialize":
        about = {"name": "shell", "version": "1"}
        say({"id": id, "result": {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": about}})
    elif method == "tools/list":
        say({"id": id, "result": {"tools": [CONFIG["tool"]]}})
    elif method == "ping":
        say({"id": id, "result": {}})
    elif method == "tools/call":
        under_way[id] = os.pipe()
        asked.put((id, params["arguments"]))
    elif method == "notifications/cancelled":
        with counting:
            if (pipe := under_way.get(params.get("requestId"))) is not None:
                os.write(pipe[1], b"x")
    elif id is not None:
        say({"id": id, "error": {"code": -32601, "message": "a shell has one tool and nothing else"}})


# what it ends is all of its control group: it begins only if that is its own
if others():
    sys.exit("there are other processes in the control group of this session; it is started by its unit alone")
threading.Thread(target=work, daemon=True).start()
for line in sys.stdin.buffer:
    answer(json.loads(line))
leave()
