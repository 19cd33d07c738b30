import { ABSENT, type Attempt } from "../attempt.ts";

const GUARD = "the guard: a tool by grant, as it was pinned";
const SOCKETS = "the server's socket is the guard's, and /run is not shown";

const root = { control: "root" } as const;

/** Tools past the guard, and the guard's own limits. Approvals have tests of their own. */
export const TOOLS: readonly Attempt[] = [
  {
    ...root,
    name: "speak to a tool server past the guard",
    stoppedBy: SOCKETS,
    meets: ABSENT,
    code: 'Direct("everything")',
  },
  {
    ...root,
    name: "approve its own call at the guard's socket",
    stoppedBy: SOCKETS,
    meets: ABSENT,
    code: 'unix("/run/bailiwick-guard/admin.sock", b\'{"do":"status"}\\n\')',
  },
  {
    ...root,
    name: "call a tool that it was not granted",
    stoppedBy: GUARD,
    meets: /not granted/,
    code: 'Mcp("everything", token()).tool("get-env", {})',
    controlCode: 'Direct("everything").tool("get-env", {})',
  },
  {
    ...root,
    name: "call a tool by another spelling of its name",
    stoppedBy: GUARD,
    meets: /not granted|name/,
    code: 'Mcp("everything", token()).tool("GET-ENV", {})',
    controlCode: 'Direct("everything").tool("get-env", {})',
  },
  {
    ...root,
    name: "use a server that it was not granted",
    stoppedBy: "the guard: servers by grant",
    meets: /^HTTP 40[34]/,
    code: 'Mcp("private", token())',
    controlCode: 'Direct("private")',
  },
  {
    ...root,
    name: "call a tool with an argument that its schema does not name",
    stoppedBy: "the guard: arguments by the pinned schema",
    meets: /no argument/,
    code: 'Mcp("everything", token()).tool("echo", {"message": "x", "more": 1})',
    controlCode: 'Direct("everything").tool("echo", {"message": "x", "more": 1})',
  },
  {
    ...root,
    name: "read a path that its grant does not allow",
    stoppedBy: "the guard: arguments narrowed by the grant",
    meets: /must be \/tmp\/open/,
    code: 'Mcp("filesystem", token()).tool("read_text_file", {"path": "/tmp/other"})',
    controlCode:
      'd = Direct("filesystem"); d.tool("write_file", {"path": "/tmp/other", "content": "x"}); d.tool("read_text_file", {"path": "/tmp/other"})',
  },
  {
    ...root,
    name: "leave a path that its grant allows by ..",
    stoppedBy: "the guard: arguments narrowed by the grant",
    meets: /must be \/tmp\/open/,
    code: 'Mcp("filesystem", token()).tool("read_text_file", {"path": "/tmp/open/../other"})',
    controlCode:
      'd = Direct("filesystem"); d.tool("write_file", {"path": "/tmp/other", "content": "x"}); d.tool("read_text_file", {"path": "/tmp/open/../other"})',
  },
  {
    ...root,
    name: "call a tool that writes, without approval",
    stoppedBy: "the guard: a write waits for an admin",
    meets: /approval/,
    code: 'Mcp("filesystem", token()).tool("write_file", {"path": "/tmp/x", "content": "x"})',
    controlCode: 'Direct("filesystem").tool("write_file", {"path": "/tmp/x", "content": "x"})',
  },
  {
    ...root,
    name: "call a tool of a server that describes it otherwise than it was reviewed",
    stoppedBy: "the guard: a server that drifted is out of use",
    meets: /out of use|drift|review/,
    code: 'Mcp("drifted", token()).tool("echo", {"message": "x"})',
    controlCode: 'Direct("drifted").tool("echo", {"message": "x"})',
  },
  {
    ...root,
    name: "list a server's prompts",
    stoppedBy: "the guard: it relays tools alone",
    meets: /-32601|not|HTTP 4/,
    code: 'Mcp("everything", token()).ask("prompts/list")',
    controlCode: 'Direct("everything").ask("prompts/list")',
  },
  {
    ...root,
    name: "read a server's resources",
    stoppedBy: "the guard: it relays tools alone",
    meets: /-32601|not|HTTP 4/,
    code: 'Mcp("everything", token()).ask("resources/list")',
    controlCode: 'Direct("everything").ask("resources/list")',
  },
  {
    ...root,
    name: "have a server hold a frame of many megabytes",
    stoppedBy: "the guard: the size of a request",
    meets: /^(HTTP 413|closed)/,
    code: 'Mcp("everything", token()).tool("echo", {"message": "x" * (9 << 20)})',
    controlCode: 'Direct("everything").tool("echo", {"message": "x" * (9 << 20)})',
  },
  {
    ...root,
    name: "hold the guard by requests that never end",
    stoppedBy: "the guard: a request is whole within seconds",
    meets: /^cut/,
    code: `
held = [opened("127.0.0.1", E["guardPort"]) for _ in range(40)]
for s in held:
    s.sendall(b"POST /everything HTTP/1.1\\r\\nhost: x\\r\\nx-slow: ")
until = time.monotonic() + 8
alive = held
while time.monotonic() < until and alive:
    time.sleep(0.5)
    still = []
    for s in alive:
        try:
            s.sendall(b"a")
            s.setblocking(False)
            try:
                if s.recv(1000):
                    continue
            except BlockingIOError:
                still.append(s)
            s.setblocking(True)
        except OSError:
            pass
    alive = still
if not alive:
    raise Stopped("cut: all of them")`,
    controlCode: `
s = socket.socket(socket.AF_UNIX)
s.settimeout(6)
s.connect("/run/bailiwick-mcp/everything.sock")
for _ in range(12):
    time.sleep(0.5)
    s.sendall(b" ")`,
  },
  {
    ...root,
    name: "call a tool with a token that is none",
    stoppedBy: "the guard: an agent by its token's hash",
    meets: /^HTTP 401/,
    code: 'Mcp("everything", "dummy")',
    controlCode: 'Mcp("everything", E["token"])',
  },
  {
    ...root,
    name: "call in a session that is its neighbour's",
    stoppedBy: "the guard: a session is one agent's, with one server",
    meets: /^HTTP 404/,
    code: 'm = Mcp("everything", token()); m.headers["mcp-session-id"] = E["neighbourSession"]; m.tool("echo", {"message": "x"})',
    controlCode:
      'm = Mcp("everything", E["neighbourToken"]); m.headers["mcp-session-id"] = E["neighbourSession"]; m.tool("echo", {"message": "x"})',
  },
];
