import { isIP } from "node:net";

/**
 * IPv4 networks that are not the public Internet (IANA's special-purpose registry): no granted name may lead there.
 * Documentation networks, which lead nowhere, are left to tests as their public Internet.
 */
export const NOT_PUBLIC_IPV4 = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "224.0.0.0/4",
  "240.0.0.0/4",
] as const;

/**
 * IPv6 networks that are not the public Internet, and those that carry an IPv4 address within, which would lead around
 * the list above. IPv4-mapped addresses (::ffff:0:0/96) stand apart: see IPV4_MAPPED.
 */
export const NOT_PUBLIC_IPV6 = [
  "::/96",
  "64:ff9b::/96",
  "64:ff9b:1::/48",
  "100::/64",
  "2001::/23",
  "2002::/16",
  "5f00::/16",
  "fc00::/7",
  "fe80::/10",
  "fec0::/10",
  "ff00::/8",
] as const;

/** For nft only: HAProxy compares IPv4 addresses with this network too, so there it would hold every one of them. */
export const IPV4_MAPPED = "::ffff:0:0/96";

/** Cloud metadata services, which hand credentials to whoever asks: root's alone. */
export const METADATA_IPV4 = "169.254.169.254";
export const METADATA_IPV6 = "fd00:ec2::254";

/**
 * The address that every granted name has within a sandbox (TEST-NET-1, RFC 5737). It is never reached: port 443 is
 * redirected to the egress proxy, which resolves the name itself.
 */
export const PLACEHOLDER_IPV4 = "192.0.2.1";

/** Addresses of one family, without duplicates, sorted; networks in CIDR form count by their address, zoned ones not. */
export function ofFamily(family: 4 | 6, addresses: readonly string[]): string[] {
  const found = addresses.filter((text) => isIP(text.split("/")[0] ?? "") === family && !text.includes("%"));
  return [...new Set(found)].sort();
}
