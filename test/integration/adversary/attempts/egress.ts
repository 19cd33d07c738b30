import { type Attempt, REFUSED, TURNED_AWAY } from "../attempt.ts";

const BASE = "the base table of the firewall: no principal but the egress proxy leaves loopback";
const PROXY = "the egress proxy: only names granted to this principal";
const RESOLVED = "the egress proxy: it connects to where it resolved the name itself, never to what was dialled";
const PRIVATE = "the egress proxy and the firewall's chain for it: addresses that are not public";
const HOSTS = "its own hosts file and an empty resolv.conf: nothing answers DNS";
const RESOLVER =
  "the resolver of wildcards, which asks nobody: one label below a granted domain, and one address for all";
const METADATA = "the base table: metadata services are root's";
const UNRESOLVED = /^unresolved/;

const user = { control: "user" } as const;
const root = { control: "root" } as const;

/** What leaves the host. */
export const EGRESS: readonly Attempt[] = [
  {
    ...user,
    name: "reach a public IPv4 address on TCP 80",
    stoppedBy: BASE,
    meets: REFUSED,
    code: 'tcp(E["public4"], 80)',
  },
  {
    ...user,
    name: "reach a public IPv4 address on TCP 22",
    stoppedBy: BASE,
    meets: REFUSED,
    code: 'tcp(E["public4"], 22)',
  },
  {
    ...user,
    name: "reach a public IPv6 address on TCP 80",
    stoppedBy: BASE,
    meets: REFUSED,
    code: 'tcp(E["public6"], 80)',
  },
  {
    ...user,
    name: "reach an IPv4 address through an IPv6 socket, mapped",
    stoppedBy: BASE,
    meets: REFUSED,
    code: 'tcp("::ffff:" + E["public4"], 80)',
  },
  {
    ...user,
    name: "reach a private address on TCP 80",
    stoppedBy: BASE,
    meets: REFUSED,
    code: 'tcp(E["private4"], 80)',
  },
  {
    ...user,
    name: "send data with its SYN, by TCP fast open",
    stoppedBy: BASE,
    meets: REFUSED,
    code: `
s = socket.socket()
s.sendto(GET, 0x20000000, (E["public4"], 80))
s.settimeout(5)
assert s.recv(100)`,
  },
  {
    ...user,
    name: "reach a public IPv4 address by TLS without a server name",
    stoppedBy: PROXY,
    meets: TURNED_AWAY,
    code: 'tls(E["public4"], None)',
  },
  {
    ...user,
    name: "reach a public IPv6 address by TLS under another name",
    stoppedBy: PROXY,
    meets: TURNED_AWAY,
    code: 'tls(E["public6"], "other.example.com")',
  },
  {
    ...user,
    name: "reach a name that nobody was granted",
    stoppedBy: PROXY,
    meets: TURNED_AWAY,
    code: 'tls(E["public4"], "other.example.com")',
  },
  {
    ...user,
    name: "reach a name that its neighbour was granted",
    stoppedBy: PROXY,
    meets: TURNED_AWAY,
    code: 'tls(E["public4"], "neighbours.example.com")',
  },
  {
    ...user,
    name: "reach the provider's name, which is the gateway's",
    stoppedBy: PROXY,
    meets: TURNED_AWAY,
    code: 'tls(E["public4"], "api.anthropic.com")',
  },
  {
    ...user,
    name: "carry data in a label below a granted name, by TLS",
    stoppedBy: PROXY,
    meets: TURNED_AWAY,
    code: 'tls(E["public4"], "c2VjcmV0.granted.example.com")',
  },
  {
    ...user,
    name: "reach the parent of a granted name",
    stoppedBy: PROXY,
    meets: TURNED_AWAY,
    code: 'tls(E["public4"], "example.com")',
  },
  {
    ...user,
    name: "reach a name that ends in a granted one",
    stoppedBy: PROXY,
    meets: TURNED_AWAY,
    code: 'tls(E["public4"], "notgranted.example.com")',
  },
  {
    ...user,
    name: "reach the domain below which it was granted all names",
    stoppedBy: PROXY,
    meets: TURNED_AWAY,
    code: 'tls(E["public4"], "wild.example.com")',
  },
  {
    ...user,
    name: "reach a name of two labels below a wildcard",
    stoppedBy: PROXY,
    meets: TURNED_AWAY,
    code: 'tls(E["public4"], "b.a.wild.example.com")',
  },
  {
    ...user,
    name: "reach a name that ends in a wildcard's domain without a dot before it",
    stoppedBy: PROXY,
    meets: TURNED_AWAY,
    code: 'tls(E["public4"], "notwild.example.com")',
  },
  {
    ...user,
    name: "reach a name below its neighbour's wildcard",
    stoppedBy: PROXY,
    meets: TURNED_AWAY,
    code: 'shake(opened(E["public4"], 443), hello("x.theirs.example.com"))',
  },
  {
    ...user,
    name: "have a name with a line end taken for one below a wildcard",
    stoppedBy: PROXY,
    meets: TURNED_AWAY,
    code: 'shake(opened(E["public4"], 443), hello("aaa.wild.example.com", b"aa\\n.wild.example.com"))',
  },
  {
    ...user,
    name: "have a name with a dot at its end taken for one below a wildcard",
    stoppedBy: PROXY,
    meets: TURNED_AWAY,
    code: 'shake(opened(E["public4"], 443), hello("aa.wild.example.com", b"a.wild.example.com."))',
  },
  {
    ...user,
    name: "reach a private address by a name below a wildcard that leads there",
    stoppedBy: PRIVATE,
    meets: TURNED_AWAY,
    code: 'served(tls(socket.gethostbyname("inner.wild.example.com"), "inner.wild.example.com"), E["private4"])',
  },
  {
    ...user,
    name: "reach another name in mixed case",
    stoppedBy: PROXY,
    meets: TURNED_AWAY,
    code: 'tls(E["public4"], "OtHeR.eXaMpLe.CoM")',
  },
  {
    ...user,
    name: "reach another name with a dot at its end",
    stoppedBy: PROXY,
    meets: TURNED_AWAY,
    code: 'shake(opened(E["public4"], 443), hello("other.example.comx", b"other.example.com."))',
  },
  {
    ...user,
    name: "get past the list of names with a ClientHello in pieces of one byte",
    stoppedBy: PROXY,
    meets: TURNED_AWAY,
    code: `
s = opened(E["public4"], 443)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
said = hello("other.example.com")
for i in range(60):
    s.sendall(said[i : i + 1])
    time.sleep(0.005)
shake(s, said[60:])`,
  },
  {
    ...user,
    name: "forge a line of the log with a newline in its server name",
    stoppedBy: PROXY,
    meets: TURNED_AWAY,
    code: 'shake(opened(E["public4"], 443), hello("x" * 40 + ".example.com", b"x\\negress principal=gateway sni=a verdict=allowed ".ljust(52, b"x")))',
  },
  {
    ...user,
    name: "speak something else than TLS on TCP 443",
    stoppedBy: "the egress proxy: what is not TLS",
    meets: TURNED_AWAY,
    code: 'tcp(E["near4"], 443)',
  },
  {
    ...user,
    name: "reach a private address under a granted name",
    stoppedBy: RESOLVED,
    meets: /^led elsewhere: .*served by 93\./,
    code: 'served(tls(E["private4"], "granted.example.com"), E["private4"])',
  },
  {
    ...root,
    name: "reach the metadata service under a granted name",
    stoppedBy: RESOLVED,
    meets: /^(led elsewhere: .*served by 93\.|EPERM|EHOSTUNREACH|ECONNREFUSED)/,
    code: 'served(tls(E["metadata4"], "granted.example.com"), E["metadata4"])',
  },
  {
    ...user,
    name: "reach a private address by a granted name that leads there",
    stoppedBy: PRIVATE,
    meets: TURNED_AWAY,
    code: 'served(tls(socket.gethostbyname("inner.example.com"), "inner.example.com"), E["private4"])',
  },
  {
    ...root,
    name: "reach the metadata service by a granted name that leads there",
    stoppedBy: PRIVATE,
    meets: TURNED_AWAY,
    code: 'served(tls(socket.gethostbyname("metadata.example.com"), "metadata.example.com"), E["metadata4"])',
  },
  {
    ...user,
    name: "reach a private address by a granted name that changes where it leads",
    stoppedBy: PRIVATE,
    meets: /^never led there/,
    code: `
for _ in range(24):
    try:
        if E["private4"] in tls(socket.gethostbyname("rebind.example.com"), "rebind.example.com"):
            break
    except OSError:
        pass
else:
    raise Stopped("never led there")`,
  },
  {
    ...user,
    name: "speak UDP 443 (QUIC) to a public IPv4 address",
    stoppedBy: BASE,
    meets: REFUSED,
    code: 'udp(E["public4"], 443)',
  },
  {
    ...user,
    name: "speak UDP 443 (QUIC) to a public IPv6 address",
    stoppedBy: BASE,
    meets: REFUSED,
    code: 'udp(E["public6"], 443)',
  },
  {
    ...user,
    name: "ask the host's resolver by UDP",
    stoppedBy: BASE,
    meets: REFUSED,
    code: 'udp(E["resolver"], 53, question("granted.example.com"))',
  },
  {
    ...user,
    name: "ask a resolver of its own choice by TCP",
    stoppedBy: BASE,
    meets: REFUSED,
    code: 'q = question("x.example.com"); tcp(E["near4"], 53, struct.pack(">H", len(q)) + q)',
  },
  {
    ...user,
    name: "ask a resolver of its own choice by UDP",
    stoppedBy: BASE,
    meets: REFUSED,
    code: 'udp(E["near4"], 53, question("x.example.com"))',
  },
  {
    ...user,
    name: "resolve a name that it was not granted",
    stoppedBy: HOSTS,
    meets: UNRESOLVED,
    code: 'socket.getaddrinfo("other.example.com", 443)',
  },
  {
    ...user,
    name: "carry data in a label below a granted name, by DNS",
    stoppedBy: HOSTS,
    meets: UNRESOLVED,
    code: 'socket.getaddrinfo("c2VjcmV0.granted.example.com", 443)',
  },
  {
    ...user,
    name: "resolve a name of two labels below a wildcard",
    stoppedBy: RESOLVER,
    meets: UNRESOLVED,
    code: 'socket.getaddrinfo("b.a.wild.example.com", 443)',
  },
  {
    ...user,
    name: "have the world's name servers asked for a label below a wildcard, by DNS",
    stoppedBy: RESOLVER,
    meets: /^answered by the host itself/,
    code: `
if b"\\xc0\\x00\\x02\\x01" in udp("127.0.0.1", 53, question("c2VjcmV0.wild.example.com")):
    raise Stopped("answered by the host itself")`,
    controlCode:
      'assert udp(E["resolver"], 53, question("a.wild.example.com")).endswith(socket.inet_aton(E["public4"]))',
  },
  {
    ...root,
    name: "ask the resolver for what its neighbour may",
    stoppedBy: "the firewall: a port of the resolver is its principal's",
    meets: REFUSED,
    code: 'assert socket.inet_aton("192.0.2.1") in udp("127.0.0.1", E["neighbourEgressPort"], question("x.theirs.example.com"))',
  },
  {
    ...root,
    name: "ping an address",
    stoppedBy: "the sandbox (address families, no capability) and the base table",
    meets: REFUSED,
    code: `
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
s.settimeout(3)
s.sendto(bytes.fromhex("0800f7fd00010001"), (E["near4"], 0))
s.recv(100)`,
  },
  {
    ...root,
    name: "ping an address by a socket that needs no privilege",
    stoppedBy: "the kernel's ping_group_range and the base table",
    meets: REFUSED,
    code: `
if os.getuid() == 0 and open("/proc/sys/net/ipv4/ping_group_range").read().split() == ["1", "0"]:
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
else:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
s.settimeout(3)
s.sendto(bytes.fromhex("0800f7fd00010001"), (E["near4"], 0))
s.recv(100)`,
  },
  {
    ...root,
    name: "reach the metadata service by IPv4",
    stoppedBy: METADATA,
    meets: REFUSED,
    code: 'tcp(E["metadata4"], 80)',
  },
  {
    ...root,
    name: "reach the metadata service by IPv6",
    stoppedBy: METADATA,
    meets: REFUSED,
    code: 'tcp(E["metadata6"], 80)',
  },
  {
    ...root,
    name: "reach the metadata service by a mapped address",
    stoppedBy: METADATA,
    meets: REFUSED,
    code: 'tcp("::ffff:" + E["metadata4"], 80)',
  },
  {
    ...root,
    name: "use the gateway's way out",
    stoppedBy: "the firewall: a frontend of the proxy is its principal's",
    meets: REFUSED,
    code: 'shake(opened("127.0.0.1", E["gatewayEgressPort"]), hello("api.anthropic.com"))',
  },
  {
    ...root,
    name: "use its neighbour's way out",
    stoppedBy: "the firewall: a frontend of the proxy is its principal's",
    meets: REFUSED,
    code: 'shake(opened("127.0.0.1", E["neighbourEgressPort"]), hello("neighbours.example.com"))',
  },
  {
    ...root,
    name: "reach another port of an address that it was granted one port of",
    stoppedBy: BASE,
    meets: REFUSED,
    code: 'tcp(E["private4"], 80)',
  },
];
