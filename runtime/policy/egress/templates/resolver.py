# Answers the DNS questions of principals that were granted a wildcard: `resolver.py serve <file> <file of reloads>`, and for a
# reload `resolver.py take <file> <file of reloads>`, which refuses what it would not serve, then SIGHUP. It asks nobody, ever: every name of one label below a
# granted one has the same address here, which stands for the egress proxy, and no other name exists. So nothing that a
# principal writes into a question leaves the host by it. The file is {"address", "ports": {<UDP port>: [<name>, …]}}.
import json, os, re, select, signal, socket, struct, sys

A, IN, RESPONSE, QUERY_BITS = 1, 1, 0x8000, 0x7900
NO_ERROR, FORMAT_ERROR, NO_SUCH_NAME, NOT_IMPLEMENTED = 0, 1, 3, 4
LABEL = re.compile(rb"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
SECONDS = 60


def read(path):
    with open(path) as f:
        text = json.load(f)
    zones = {int(port): {zone.encode("ascii") for zone in names} for port, names in text["ports"].items()}
    return socket.inet_aton(text["address"]), zones


def question(packet):
    """(name in lower case, type, end of the question); raises if it is none that programs ask."""
    labels, at = [], 12
    while size := packet[at]:
        if size > 63:
            raise ValueError("a name that is compressed")
        labels.append(packet[at + 1 : at + 1 + size])
        at += 1 + size
    kind, family = struct.unpack_from(">HH", packet, at + 1)
    if family != IN or len(b".".join(labels)) > 253:
        raise ValueError("no question of the Internet")
    return labels, kind, at + 5


def answer(packet, zones, address):
    """What is sent back; None for what is no question."""
    if len(packet) < 12 or packet[2] & 0x80:
        return None
    id, bits, questions = struct.unpack_from(">HHH", packet)

    def reply(code, asked=b"", records=()):
        head = struct.pack(">HHHHHH", id, RESPONSE | (bits & QUERY_BITS) | 0x0400 | code, bool(asked), len(records), 0, 0)
        return head + asked + b"".join(records)

    if bits & 0x7800:
        return reply(NOT_IMPLEMENTED)
    try:
        if questions != 1:
            raise ValueError("not one question")
        labels, kind, end = question(packet)
    except (ValueError, IndexError, struct.error):
        return reply(FORMAT_ERROR)
    asked = packet[12:end]
    name = [label.lower() for label in labels]
    if not name or not LABEL.fullmatch(name[0]) or b".".join(name[1:]) not in zones:
        return reply(NO_SUCH_NAME, asked)
    record = b"\xc0\x0c" + struct.pack(">HHIH", A, IN, SECONDS, 4) + address
    return reply(NO_ERROR, asked, [record] if kind == A else [])


def serve(path, reloads):
    address, ports = read(path)
    again = []
    signal.signal(signal.SIGHUP, lambda *_: again.append(True))
    # the handler alone does not end a wait, which Python resumes
    wake, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell)
    sockets = {}

    def listen():
        for port in set(sockets) - set(ports):
            sockets.pop(port).close()
        for port in set(ports) - set(sockets):
            sockets[port] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sockets[port].bind(("127.0.0.1", port))

    listen()
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([wake, *sockets.values()], [], [])
        if wake in ready:
            os.read(wake, 64)
        if again:
            again.clear()
            address, ports = read(reloads)
            listen()
            continue
        for s in ready:
            if s == wake:
                continue
            try:
                packet, asker = s.recvfrom(4096)
                told = answer(packet, ports[s.getsockname()[1]], address)
                if told is not None:
                    s.sendto(told, asker)
            except OSError as error:
                # whoever asked has gone, or may not be answered; the others are still there
                print(f"no answer sent: {error}", file=sys.stderr, flush=True)


def take(new, path):
    read(new)
    with open(new, "rb") as f:
        text = f.read()
    draft = f"{path}.new"
    with open(draft, "wb") as f:
        f.write(text)
    os.rename(draft, path)


if __name__ == "__main__":
    if sys.argv[1] == "take":
        take(sys.argv[2], sys.argv[3])
    else:
        serve(sys.argv[2], sys.argv[3])
