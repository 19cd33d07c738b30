# Has the egress proxy take its new configuration, and ends what is no longer granted: `reload.py <pid of HAProxy's master> <its
# socket> <configuration>`. What is still granted goes on in the worker that took it up, over any number of reloads. Each grant has
# a backend of its own, by whose name its connections are found.
import os, re, signal, socket, sys, time

MASTER, SOCKET, FILE = int(sys.argv[1]), sys.argv[2], sys.argv[3]
SECONDS = 20


def ask(command):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(SOCKET)
        s.sendall(command.encode() + b"\n")
        s.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := s.recv(65536):
            answer += chunk
    return answer.decode()


def workers():
    """Process ids: of the worker that takes connections, and of those before it that still hold some."""
    current, old = None, []
    into = None
    for line in ask("show proc").split("\n"):
        if line.startswith("# "):
            into = line[2:].strip()
        elif (found := re.match(r"(\d+)\s+worker\s", line)) and into == "workers":
            current = int(found[1])
        elif found and into == "old workers":
            old.append(int(found[1]))
    return current, old


def renewed(before):
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        try:
            # the master is another program for a moment, and does not answer
            current, old = workers()
            if current not in (None, before):
                return old
        except OSError:
            pass
        time.sleep(0.05)
    sys.exit(f"no new worker within {SECONDS} s: the old configuration stays")


before, _ = workers()
os.kill(MASTER, signal.SIGUSR2)
old = renewed(before)
with open(FILE) as f:
    granted = set(re.findall(r"(?m)^backend (\S+)$", f.read()))
for worker in old:
    # session by session: of a proxy that has stopped, its server's can no longer be ended together
    for session, frontend, backend in re.findall(r"(?m)^(0x[0-9a-f]+): .* fe=(\S+) be=(\S+) ", ask(f"@!{worker} show sess")):
        # one whose name is not known yet would be judged by the old list
        if frontend not in ("GLOBAL", "MASTER") and backend not in granted:
            ask(f"@!{worker} shutdown session {session}")
