# Run on the host: `tls <address> <name> <n>` opens new TLS connections, `guard <token file> <n>` and `direct <n>` call one tool, each
# within one session. Prints the ms of each as JSON, after a tenth as many that do not count.
import http.client, json, socket, ssl, sys, time

START = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
CALL = {"name": "echo", "arguments": {"message": "x" * 100}}


def tls(address, name):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def once():
        with socket.create_connection((address, 443), 5) as s, context.wrap_socket(s, server_hostname=name) as t:
            t.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert t.recv(4096)

    return once


def guard(token_file):
    token = open(token_file).read()
    connection = http.client.HTTPConnection("127.0.0.1", 4100)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json", "accept": "application/json, text/event-stream"}

    def send(message):
        connection.request("POST", "/everything", json.dumps({"jsonrpc": "2.0", **message}), headers)
        answer = connection.getresponse()
        text = answer.read()
        session = answer.getheader("mcp-session-id")
        if session:
            headers["mcp-session-id"] = session
        assert answer.status < 300, text
        return text

    send({"id": 0, "method": "initialize", "params": START})
    send({"method": "notifications/initialized"})

    def once():
        assert b'"error"' not in send({"id": 1, "method": "tools/call", "params": CALL})

    return once


def direct():
    s = socket.socket(socket.AF_UNIX)
    s.connect("/run/bailiwick-mcp/everything.sock")
    lines = s.makefile("rb")

    def send(message):
        s.sendall(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def ask(method, params):
        send({"id": 1, "method": method, "params": params})
        while json.loads(line := lines.readline()).get("id") != 1:
            pass
        assert b'"error"' not in line

    ask("initialize", START)
    send({"method": "notifications/initialized"})
    return lambda: ask("tools/call", CALL)


def timed(once):
    start = time.perf_counter()
    once()
    return (time.perf_counter() - start) * 1000


kind, *arguments, count = sys.argv[1:]
once = {"tls": tls, "guard": guard, "direct": direct}[kind](*arguments)
for _ in range(int(count) // 10 + 1):
    once()
print(json.dumps([round(timed(once), 4) for _ in range(int(count))]))
