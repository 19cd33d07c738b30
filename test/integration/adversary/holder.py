# Run by the neighbour itself: a process that holds things which are nobody else's.
import os, socket, sys, time

home = os.environ["HOME"]
with open(f"{home}/siege-secret", "w") as f:
    f.write("neighbour-secret")
os.chmod(f"{home}/siege-secret", 0o666)
held = open(f"{home}/siege-held", "w")
kept = []
for kind, name in (
    (socket.SOCK_STREAM, "\0siege-neighbour"),
    (socket.SOCK_DGRAM, "\0siege-neighbour-datagram"),
    (socket.SOCK_STREAM, f"{home}/siege.sock"),
):
    s = socket.socket(socket.AF_UNIX, kind)
    s.bind(name)
    if kind == socket.SOCK_STREAM:
        s.listen(8)
    kept.append(s)
os.chmod(f"{home}/siege.sock", 0o777)
time.sleep(3600)
