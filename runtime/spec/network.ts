import { isIP } from "node:net";
import * as z from "zod";

/** An IPv4 or IPv6 network in CIDR form with no host bits set, such as 203.0.113.7/32 or 2001:db8::/48. */
export const Cidr = z.string().superRefine((text, ctx) => {
  const problem = cidrProblem(text);
  if (problem !== undefined) ctx.addIssue({ code: "custom", message: `received ${JSON.stringify(text)}; ${problem}` });
});

function cidrProblem(text: string): string | undefined {
  const [address, bits, ...rest] = text.split("/");
  if (address === undefined || bits === undefined || rest.length > 0 || !/^\d{1,3}$/.test(bits))
    return "write an address and a prefix length, such as 203.0.113.7/32";
  const family = isIP(address);
  if (family === 0) return `"${address}" is no IP address; write one such as 203.0.113.7/32 or 2001:db8::/48`;
  const width = family === 4 ? 32 : 128;
  const length = Number(bits);
  if (length > width) return `the prefix length of an IPv${family} network is at most ${width}`;
  const value = family === 4 ? ipv4Value(address) : ipv6Value(address);
  const hostBits = (1n << BigInt(width - length)) - 1n;
  if ((value & hostBits) !== 0n)
    return "host bits are set; write the network's own address, or /32 (/128) for one machine";
  return undefined;
}

function ipv4Value(address: string): bigint {
  return address.split(".").reduce((acc, part) => (acc << 8n) | BigInt(Number(part)), 0n);
}

function ipv6Value(address: string): bigint {
  const v4 = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(address);
  let text = address;
  if (v4?.[1] !== undefined && v4[2] !== undefined) {
    const v = ipv4Value(v4[2]);
    text = `${v4[1]}${(v >> 16n).toString(16)}:${(v & 0xffffn).toString(16)}`;
  }
  const [head = "", tail] = text.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const groups =
    tail === undefined ? left : [...left, ...Array<string>(8 - left.length - right.length).fill("0"), ...right];
  return groups.reduce((acc, group) => (acc << 16n) | BigInt(`0x${group}`), 0n);
}

/** An OpenSSH public key line of a type with no known weakness; options before the type are not taken. */
export const SshPublicKey = z
  .string()
  .regex(
    /^(ssh-ed25519|sk-ssh-ed25519@openssh\.com) [A-Za-z0-9+/]{40,}={0,2}( [A-Za-z0-9@._+-]{1,64})?$/,
    "must be one ed25519 public key line as in id_ed25519.pub: `ssh-ed25519 AAAA… comment` (never a private key)",
  );
