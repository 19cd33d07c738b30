import { describe, expect, it } from "vitest";
import { ipv6Only } from "../../../../runtime/host/activator/routes.ts";

// as Linux prints them
const HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
const NEAR = "eth0\t0071CB00\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
const DEFAULT = "eth0\t00000000\t0171CB00\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
const zeros = "0".repeat(32);
const line6 = (to: string, bits: string, flags: string, device: string) =>
  `${to} ${bits} ${zeros} 00 ${zeros} 00000400 00000001 00000000 ${flags} ${device.padStart(8)}\n`;
const NEAR6 = line6("20010db8000100000000000000000000", "40", "00000001", "eth0");
const DEFAULT6 = line6(zeros, "00", "00000003", "eth0");
/** What every kernel has, with a way out or without. */
const NONE6 = line6(zeros, "00", "00200200", "lo");

describe("a host with a way to IPv6 alone", () => {
  it.each([
    ["default routes of both", HEAD + DEFAULT + NEAR, NEAR6 + DEFAULT6 + NONE6, false],
    ["one of IPv4", HEAD + DEFAULT + NEAR, NEAR6 + NONE6, false],
    ["one of IPv6, and IPv4 to its own network", HEAD + NEAR, NEAR6 + DEFAULT6 + NONE6, true],
    ["one of IPv6, and no IPv4 at all", "", DEFAULT6 + NONE6, true],
    ["none", HEAD + NEAR, NEAR6 + NONE6, false],
    ["one of IPv6 that refuses", HEAD, line6(zeros, "00", "00000203", "eth0") + NONE6, false],
    ["no IPv6 in the kernel", HEAD + DEFAULT, "", false],
  ])("is told by its routes: %s", (_what, route, route6, only) => {
    expect(ipv6Only(route, route6)).toBe(only);
  });
});
