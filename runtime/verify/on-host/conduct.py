# Runs as root: tries what is to be tried as root itself, and starts one probe unit per principal for the rest.
# Given REQUEST: {attempts, run, serve: [port], root: [attempt], sandboxes: {unit: [attempt]}}; `attempts` is the text of
# attempts.py, which stands above this one.
PROBES = "/run/bailiwick-probes"


def script(wanted):
    """One file that sh hands on to Python: the probe unit runs `/bin/sh <file>`."""
    return "\n".join(
        [
            '"exec" "/usr/bin/python3" "-I" "$0"',
            REQUEST["attempts"],
            f"print(json.dumps(attempt_all(json.loads({json.dumps(wanted)!r}))))",
            "",
        ]
    )


def probe_units(sandboxes, run_id):
    os.makedirs(PROBES, exist_ok=True)
    # passed through and not listed: a sandbox that has lost its mounts runs its probes too, and so is found out
    os.chmod(PROBES, 0o711)
    names = {unit: f"{unit}-{run_id}" for unit in sandboxes}
    try:
        for unit, name in names.items():
            with open(f"{PROBES}/{name}", "w") as f:
                os.fchmod(f.fileno(), 0o444)
                f.write(script(sandboxes[unit]))
        with ThreadPoolExecutor(8) as pool:
            return dict(zip(names, pool.map(lambda unit: probe_unit(unit, names[unit]), names)))
    finally:
        for name in names.values():
            for path in (f"{PROBES}/{name}", f"{PROBES}/{name}.out"):
                if os.path.exists(path):
                    os.unlink(path)


def probe_unit(unit, name):
    instance = f"{unit}-probe@{name}.service"
    started = subprocess.run(["systemctl", "start", instance], capture_output=True, text=True)
    try:
        with open(f"{PROBES}/{name}.out") as f:
            printed = f.read()
    except FileNotFoundError:
        printed = ""
    if started.returncode == 0:
        try:
            # what started it may have had something to say before
            return {"outcomes": json.loads(printed.strip().split("\n")[-1])}
        except ValueError:
            pass
    log = subprocess.run(["journalctl", "-qu", instance, "-n", "3", "-o", "cat"], capture_output=True, text=True)
    told = [line for text in (printed, log.stdout, started.stderr) for line in text.strip().split("\n") if line]
    return {"error": "; ".join(told[-4:])[:600] or f"{instance} printed nothing"}


def serve(ports):
    """Listens on ports of 127.0.0.1 where nobody does, so that a principal is refused by a rule or not at all."""
    sockets = {}
    for port in ports:
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", port))
            s.listen()
            sockets[port] = s
        except OSError:
            s.close()
    return sockets


def meet():
    """Where any two of the host could meet: an abstract socket and a file in shared memory, both open to everybody."""
    s = socket.socket(socket.AF_UNIX)
    try:
        s.bind("\0bailiwick-probe")
        s.listen()
    except OSError as error:
        # another verify at the same time has it
        if error.errno != errno.EADDRINUSE:
            raise
    with open(MEETING, "w"):
        os.chmod(MEETING, 0o666)
    return s


MEETING = "/dev/shm/bailiwick-probe"
meeting = meet()
served = serve(REQUEST["serve"])
# both at once: what root tries is there to compare with what the principals meet
with ThreadPoolExecutor(1) as aside:
    sandboxes = aside.submit(probe_units, REQUEST["sandboxes"], REQUEST["run"])
    root = attempt_all(REQUEST["root"])
    answer = {"root": root, "sandboxes": sandboxes.result(), "served": list(served)}
for s in (meeting, *served.values()):
    s.close()
if os.path.exists(MEETING):
    os.unlink(MEETING)
print(json.dumps(answer))
