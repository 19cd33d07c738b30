/**
 * Whether there is a way to IPv6 and none to IPv4, by default routes.
 * @param route text of /proc/net/route
 * @param route6 text of /proc/net/ipv6_route
 */
export function ipv6Only(route: string, route6: string): boolean {
  const lines = (text: string) => text.split("\n").map((line) => line.trim().split(/\s+/));
  const usable = (flags: string | undefined) => {
    const bits = Number.parseInt(flags ?? "0", 16);
    return (bits & UP) !== 0 && (bits & REJECT) === 0;
  };
  const ipv4 = lines(route).some(([, to, , flags, , , , mask]) => to === ZERO && mask === ZERO && usable(flags));
  const ipv6 = lines(route6).some(
    (fields) => fields[0] === ZERO.repeat(4) && fields[1] === "00" && fields[9] !== "lo" && usable(fields[8]),
  );
  return ipv6 && !ipv4;
}

const ZERO = "00000000";
/** RTF_UP and RTF_REJECT. */
const UP = 0x1;
const REJECT = 0x200;
