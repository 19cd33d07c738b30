import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ProbedHost } from "../../../runtime/policy/probe.ts";
import { type PortAnswer, tryPorts } from "../../../runtime/verify/ports.ts";
import { type Ports, portProbes, publicAddresses } from "../../../runtime/verify/probes/ports.ts";
import { printed, probeOf } from "../policy/judged.ts";

describe("trying ports", () => {
  const tcp = createServer((socket) => socket.end());
  const udp = createSocket("udp4");
  udp.on("message", (message, from) => udp.send(message, from.port, from.address));
  let open: { tcp: number; udp: number };

  beforeAll(async () => {
    await new Promise<void>((done) => void tcp.listen(0, "127.0.0.1", done));
    await new Promise<void>((done) => void udp.bind(0, "127.0.0.1", done));
    open = { tcp: (tcp.address() as { port: number }).port, udp: udp.address().port };
  });
  afterAll(() => {
    tcp.close();
    udp.close();
  });

  it("tells what answers from what refuses", async () => {
    expect([...(await tryPorts("tcp", "127.0.0.1", [open.tcp, 1]))]).toEqual([
      [open.tcp, "open"],
      [1, "refused"],
    ]);
    expect([...(await tryPorts("udp", "127.0.0.1", [open.udp, 1]))]).toEqual([
      [open.udp, "open"],
      [1, "refused"],
    ]);
  });

  it("tells what is silent", async () => {
    const silent = createSocket("udp4");
    await new Promise<void>((done) => void silent.bind(0, "127.0.0.1", done));
    const { port } = silent.address();
    expect((await tryPorts("udp", "127.0.0.1", [port])).get(port)).toBe("silent");
    silent.close();
  });

  it("takes no name: which address is tried is not for a resolver to say", async () => {
    await expect(tryPorts("tcp", "localhost", [1])).rejects.toThrow('received "localhost", which is no IP address');
  });
});

describe("ports of a host", () => {
  const host = {
    listening: [
      { protocol: "tcp", address: "127.0.0.1", port: 4123 },
      { protocol: "udp", address: "0.0.0.0", port: 6123 },
    ],
    root: async () => printed("2: eth0    inet6 2001:db8::7/64 scope global \\       valid_lft forever\n"),
  } as unknown as ProbedHost;

  async function verdicts(answer: (port: number) => PortAnswer, more: Partial<Ports> = {}, on = host) {
    const tried: Record<string, number[]> = {};
    const probes = portProbes({
      address: "198.51.100.4",
      ssh: 22,
      from: ["203.0.113.0/24"],
      try: async (protocol, address, ports) => {
        tried[`${protocol} ${address}`] = [...(tried[`${protocol} ${address}`] ?? []), ...ports];
        return new Map(ports.map((port) => [port, answer(port)]));
      },
      ...more,
    });
    const judged = await Promise.all(
      probes.map(async (probe) => [probe.id, probe.judge(await probe.read(on))] as const),
    );
    return { tried, of: Object.fromEntries(judged) };
  }
  const sshAlone = (port: number): PortAnswer => (port === 22 ? "open" : "silent");

  it("are tried by both families and protocols, those too that something listens on", async () => {
    const { tried, of } = await verdicts(sshAlone);
    expect(Object.values(of).map(({ verdict }) => verdict)).toEqual(["held", "held", "held", "held"]);
    expect(tried["tcp 198.51.100.4"]).toContain(4123);
    expect(tried["udp 2001:db8::7"]).toContain(6123);
  });

  it("are open if one answers, and if one is refused: then the packet was not dropped", async () => {
    const answers = await verdicts((port) => (port === 4123 ? "open" : sshAlone(port)));
    expect(answers.of["outside/ports-ipv4-tcp"]).toEqual({ verdict: "broken", found: "4123 answers" });
    const refuses = await verdicts((port) => (port === 6123 ? "refused" : sshAlone(port)));
    expect(refuses.of["outside/ports-ipv4-udp"]).toEqual({ verdict: "broken", found: "6123 is refused, not dropped" });
  });

  it("prove nothing by silence where sshd is silent although it should answer", async () => {
    const { of } = await verdicts(() => "silent");
    expect(of["outside/ports-ipv4-tcp"]).toMatchObject({ verdict: "unprovable" });
    // by this family nobody is let in
    expect(of["outside/ports-ipv6-tcp"]).toMatchObject({ verdict: "held" });
    const six = await verdicts(() => "silent", { from: ["2001:db8:1::/48"] });
    expect(six.of["outside/ports-ipv6-tcp"]).toMatchObject({ verdict: "unprovable" });
  });

  it("prove nothing where nothing can be sent", async () => {
    const { of } = await verdicts(() => "no way");
    expect(of["outside/ports-ipv6-udp"]).toMatchObject({ verdict: "unprovable", found: "not tried" });
  });

  it("are not tried where the host has no address, or none that could be tried from here", async () => {
    const none = { ...host, root: async () => printed("") } as unknown as ProbedHost;
    const { tried, of } = await verdicts(sshAlone, {}, none);
    expect(of["outside/ports-ipv6-tcp"]).toEqual({ verdict: "held", found: "the host has no public IPv6 address" });
    expect(Object.keys(tried)).toEqual(["tcp 198.51.100.4", "udp 198.51.100.4"]);
    expect(portProbes(undefined)).toEqual([]);
    expect(() => probeOf(portProbes(undefined), "outside/ports-ipv4-tcp")).toThrow();
  });

  it("have the addresses that are public and to stay", () => {
    const lines = [
      "2: eth0    inet 10.0.0.4/24 brd 10.0.0.255 scope global eth0",
      "2: eth0    inet6 fd00::4/64 scope global",
      "2: eth0    inet6 2001:db8::9/64 scope global temporary dynamic",
      "2: eth0    inet6 2001:db8::8/64 scope global dynamic mngtmpaddr",
      "3: eth1    inet 198.51.100.9/32 scope global eth1",
    ];
    expect(publicAddresses(printed(lines.join("\n")))).toEqual(["2001:db8::8", "198.51.100.9"]);
  });
});
