import { isIP } from "node:net";
import { canonicalJson } from "../runtime/spec/digest.ts";
import { Cidr } from "../runtime/spec/network.ts";

/**
 * One function per output format. Each either writes the value so that its consumer reads back exactly that value, or
 * throws an Error that says what was received, which helper refused it, and what that helper takes. None mangles.
 * Templates call them by these names: `Description={{unit title}}`, `{{number port min=1 max=65535}}`.
 */
export type QuotingHelper = (value: unknown, options: Readonly<Record<string, unknown>>) => string;

const MAX_TEXT = 65_536;

const LONE_SURROGATE = /\p{Cs}/u;
// C0, DEL and C1: terminals, line-based formats and YAML readers each give some of them a meaning.
const CONTROL = /\p{Cc}/u;
const CONTROL_BUT_TAB_AND_NEWLINE = /[^\P{Cc}\t\n]/u;
// Line separators to YAML, byte order mark, and code points that systemd and YAML readers reject.
const UNPRINTABLE = /[\u2028\u2029\ufeff\ufdd0-\ufdef]|[\ufffe\uffff]/u;
const YAML_ESCAPED = /[\u007f-\u009f\u2028\u2029\ufeff\ufdd0-\ufdef\ufffe\uffff]/gu;

function refuse(helper: string, value: unknown, takes: string): never {
  throw new Error(`${helper} received ${shown(value)}; it takes ${takes}`);
}

function shown(value: unknown): string {
  if (typeof value === "function" || typeof value === "symbol" || typeof value === "bigint") return `a ${typeof value}`;
  const text = escaped(JSON.stringify(value) ?? String(value));
  return text.length > 80 ? `${text.slice(0, 80)}… (${text.length} characters)` : text;
}

function escaped(json: string): string {
  return json.replace(YAML_ESCAPED, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function text(helper: string, value: unknown, takes: string, max = MAX_TEXT): string {
  if (typeof value !== "string" || value.length > max || LONE_SURROGATE.test(value) || value.includes("\0"))
    refuse(helper, value, takes);
  return value;
}

/** A YAML double-quoted string, which is also a JSON string: what JSON leaves raw but YAML folds or rejects is escaped. */
function yaml(value: unknown): string {
  const given = text("yaml", value, "a string of at most 65536 characters without NUL");
  return escaped(JSON.stringify(given));
}

/** One word of a POSIX shell, in single quotes. */
function sh(value: unknown): string {
  const takes = "a string of at most 65536 characters with no control characters but tab and newline";
  const given = text("sh", value, takes);
  if (CONTROL_BUT_TAB_AND_NEWLINE.test(given)) refuse("sh", value, takes);
  return `'${given.replaceAll("'", `'\\''`)}'`;
}

/**
 * The whole value of a setting in a systemd unit, such as Description=. Quotes and backslashes are refused: some
 * settings take them literally and some as quoting.
 */
function unit(value: unknown): string {
  const takes =
    "one line of 1 to 2048 characters without control characters, quotes, backslashes or space at either end";
  const given = text("unit", value, takes, 2048);
  if (given === "" || given !== given.trim() || CONTROL.test(given) || UNPRINTABLE.test(given) || /["'\\]/.test(given))
    refuse("unit", value, takes);
  return given.replaceAll("%", "%%");
}

/** One word of a systemd setting that is a list of words, such as Environment=. For Exec lines see execWord. */
function unitWord(value: unknown): string {
  return quotedUnitWord("unitWord", value);
}

/**
 * One argument of an Exec line (`$` doubled). Not for the program itself, whose first characters mean something to
 * systemd even within quotes: write that with `path`.
 */
function execWord(value: unknown): string {
  return quotedUnitWord("execWord", value).replaceAll("$", "$$$$");
}

function quotedUnitWord(helper: string, value: unknown): string {
  const takes = "a string of at most 2048 characters without control characters";
  const given = text(helper, value, takes, 2048);
  if (CONTROL.test(given) || UNPRINTABLE.test(given)) refuse(helper, value, takes);
  return `"${given.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("%", "%%")}"`;
}

// Names that nft's grammar takes as keywords where a chain or set is named; the error it gives is far from the cause.
const NFT_KEYWORDS = new Set(
  (
    "accept add address ah all and arp at audit base bridge burst bypass bytes cgroup chain chains check comment " +
    "comp constant continue counter counters cpu create ct daddr day dccp define delete describe destroy devgroup " +
    "device devices dnat drop dscp dst dup dynamic ecn element elements esp ether exists expires export exthdr " +
    "fib flags flow flowtable flowtables flush frag fragment from fwd ge geneve get goto gre gretap group handle " +
    "hash hbh helper helpers hook hoplimit hour ibriport ibrname icmp icmpv6 id igmp iif iifgroup iifname iiftype " +
    "import include index inet inner insert interval ip ip6 ipsec jhash jump kind l4proto last le level limit " +
    "limits list log lt map maps mark masquerade meta meter meters mh missing mod monitor ne netdev netmask " +
    "nexthdr nfproto nftrace not notrack numgen obriport obrname offload offset oif oifgroup oifname oiftype or " +
    "osf over packets performance persistent pkttype policy position prefix priority protocol queue queues quota " +
    "quotas random rate redefine redirect reject rename replace reset return rt rt0 rt2 rtclassid rule rules " +
    "ruleset saddr sctp secmark secmarks set sets size skgid skuid snaplen snat socket srh string symhash " +
    "synproxy synproxys table tables tag tcp th time timeout to tproxy type typeof udp udplite undefine unlimited " +
    "until update used using version vlan vmap vni vxlan xt"
  ).split(" "),
);

/** Name of a chain, set, map or define of nft. */
function nftName(value: unknown): string {
  const takes = "1 to 63 of a-z, 0-9 and _, starting with a letter, that nft has no other meaning for";
  const given = text("nftName", value, takes, 63);
  if (!/^[a-z][a-z0-9_]*$/.test(given) || NFT_KEYWORDS.has(given)) refuse("nftName", value, takes);
  return given;
}

/** An IP address or CIDR. `family=4` or `family=6` refuses the other, since nft wants them in different sets. */
function nftAddress(value: unknown, options: Readonly<Record<string, unknown>>): string {
  const family = options.family ?? "4 or 6";
  const takes = `an IP address or CIDR of family ${String(family)} without zone and host bits`;
  const given = text("nftAddress", value, takes, 64);
  const [address = ""] = given.split("/");
  const found = isIP(address);
  if (found === 0 || given.includes("%") || (typeof family === "number" && found !== family))
    refuse("nftAddress", value, takes);
  if (given.includes("/") && !Cidr.safeParse(given).success) refuse("nftAddress", value, takes);
  return given;
}

/** An integer from `min` (default 0) to `max` (default 2^53-1), in decimal. */
function number(value: unknown, options: Readonly<Record<string, unknown>>): string {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = options;
  if (typeof min !== "number" || typeof max !== "number")
    throw new Error(`number received min=${shown(min)} max=${shown(max)}; they are numbers`);
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < min || value > max)
    refuse("number", value, `an integer from ${min} to ${max}`);
  return String(value);
}

/** A word of haproxy.cfg: a name, an address, an identifier. Never quoted, never a flag. */
function haproxyWord(value: unknown): string {
  return matching("haproxyWord", value, /^[A-Za-z0-9:][A-Za-z0-9._:/-]{0,254}$/, "1 to 255 of A-Z a-z 0-9 . _ : / -");
}

/** A host name in lower case, as in /etc/hosts: labels of a-z, 0-9 and hyphens; no trailing dot, no address. */
function hostsName(value: unknown): string {
  const takes = "a lower-case host name of at most 253 characters whose last label is not a number";
  const given = text("hostsName", value, takes, 253);
  const labels = given.split(".");
  if (
    !labels.every((label) => /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(label)) ||
    /^\d+$/.test(labels.at(-1) ?? "")
  )
    refuse("hostsName", value, takes);
  return given;
}

/** Canonical JSON of plain data. */
function json(value: unknown): string {
  if (!isPlainJson(value))
    refuse("json", value, "strings, finite numbers, booleans, null, and arrays and objects of these");
  return canonicalJson(value);
}

function isPlainJson(value: unknown): boolean {
  if (value === null || typeof value === "boolean") return true;
  if (typeof value === "string") return !LONE_SURROGATE.test(value);
  if (typeof value === "number") return Number.isFinite(value);
  if (Array.isArray(value)) return value.every(isPlainJson);
  if (typeof value !== "object") return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return (
    (prototype === Object.prototype || prototype === null) &&
    Object.entries(value).every(([key, item]) => !LONE_SURROGATE.test(key) && isPlainJson(item))
  );
}

/** An absolute path that means the same unquoted in units, shell, nft and sshd: no space, colon, `..`, `.` or `//`. */
function path(value: unknown): string {
  return absolutePath("path", value);
}

function absolutePath(helper: string, value: unknown): string {
  const takes = "an absolute path of A-Z a-z 0-9 . _ @ + = - without empty, . or .. parts, at most 1024 characters";
  const given = text(helper, value, takes, 1024);
  const parts = given.split("/").slice(1);
  if (
    !given.startsWith("/") ||
    !parts.every((part) => /^[A-Za-z0-9._@+=-]+$/.test(part) && part !== "." && part !== "..")
  )
    refuse(helper, value, takes);
  return given;
}

/** systemd's name for the unit of a device node, which is a `path`. */
function deviceUnit(value: unknown): string {
  const hex = (c: string) => `\\x${c.charCodeAt(0).toString(16)}`;
  const name = absolutePath("deviceUnit", value).slice(1);
  return `${name.replaceAll(/[^A-Za-z0-9_./]/g, hex).replaceAll("/", "-")}.device`;
}

/** A word that needs no quoting anywhere: identifiers, digests, versions, base64. No leading hyphen: it is no flag. */
function word(value: unknown): string {
  return matching(
    "word",
    value,
    /^[A-Za-z0-9._:@/+=][A-Za-z0-9._:@/+=-]{0,1023}$/,
    "1 to 1024 of A-Z a-z 0-9 . _ : @ / + = -",
  );
}

function matching(helper: string, value: unknown, pattern: RegExp, characters: string): string {
  const takes = `${characters}, the first not a hyphen`;
  const given = text(helper, value, takes);
  // `$` of a pattern without the m flag matches at the very end only, so no newline gets by
  if (!pattern.test(given)) refuse(helper, value, takes);
  return given;
}

/** All quoting helpers by the name that templates call them by. */
export const QUOTING_HELPERS: Readonly<Record<string, QuotingHelper>> = {
  yaml,
  sh,
  unit,
  unitWord,
  execWord,
  nftName,
  nftAddress,
  number,
  haproxyWord,
  hostsName,
  json,
  path,
  deviceUnit,
  word,
};
