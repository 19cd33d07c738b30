import { BlockList, isIP } from "node:net";
import * as z from "zod";

/**
 * A DNS name as it is matched against the TLS server name: lower case, at least two labels, no trailing dot, no
 * wildcard (RFC 1123 labels). IP literals are not names.
 */
export const DnsName = z
  .string()
  .max(253)
  .regex(
    /^(?=.*[a-z])[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)+$/,
    "must be one exact lower-case DNS name such as api.example.com (no wildcard, no scheme, no port, no IP address)",
  );

/**
 * Names below which strangers get names of their own: a wildcard there would be a grant to whoever wants to be granted. The
 * larger hosts of other people's content, and what registries keep for it; no whole list of public suffixes.
 */
const EVERYBODYS = [
  ...[
    "amazonaws.com",
    "awsapprunner.com",
    "cloudfront.net",
    "elasticbeanstalk.com",
    "on.aws",
    "awsglobalaccelerator.com",
  ],
  ...["azureedge.net", "azurefd.net", "azurewebsites.net", "cloudapp.azure.com", "cloudapp.net", "windows.net"],
  ...["appspot.com", "cloudfunctions.net", "firebaseapp.com", "firebaseio.com", "run.app", "web.app", "withgoogle.com"],
  ...[
    "blogspot.com",
    "googleusercontent.com",
    "translate.goog",
    "workers.dev",
    "pages.dev",
    "r2.dev",
    "trycloudflare.com",
  ],
  ...["cdn.cloudflare.net", "fastly.net", "fastlylb.net", "edgesuite.net", "edgekey.net", "akamaized.net", "b-cdn.net"],
  ...[
    "github.io",
    "githubpreview.dev",
    "app.github.dev",
    "gitlab.io",
    "bitbucket.io",
    "codeberg.page",
    "readthedocs.io",
  ],
  ...["herokuapp.com", "vercel.app", "netlify.app", "onrender.com", "fly.dev", "railway.app", "deno.dev", "surge.sh"],
  ...["ngrok.io", "ngrok.app", "ngrok-free.app", "ngrok.dev", "loca.lt", "ts.net", "serveo.net", "lhr.life"],
  ...["glitch.me", "repl.co", "replit.app", "replit.dev", "csb.app", "stackblitz.io", "webcontainer.io", "gitpod.io"],
  ...[
    "wordpress.com",
    "tumblr.com",
    "wixsite.com",
    "weebly.com",
    "myshopify.com",
    "notion.site",
    "webflow.io",
    "neocities.org",
  ],
  ...[
    "digitaloceanspaces.com",
    "ondigitalocean.app",
    "backblazeb2.com",
    "your-objectstorage.com",
    "scw.cloud",
    "supabase.co",
  ],
  ...["duckdns.org", "dyndns.org", "no-ip.org", "ddns.net", "nip.io", "sslip.io", "traefik.me", "dedyn.io", "eu.org"],
];

/** What registries of countries keep for everybody: `co.uk`, `com.br`. */
const SECOND_LEVEL =
  /^(ac|asso|co|com|edu|gob|gov|govt|gouv|id|info|ltd|me|mil|ne|net|nom|or|org|plc|sch|web)\.[a-z]{2}$/;

/** Why names below this one are not granted all together, or undefined. */
function everybodys(zone: string): string | undefined {
  const theirs = EVERYBODYS.find(
    (suffix) => zone === suffix || zone.endsWith(`.${suffix}`) || suffix.endsWith(`.${zone}`),
  );
  if (theirs !== undefined) return `anybody can have a name below ${theirs}`;
  return SECOND_LEVEL.test(zone) ? `${zone} is a registry's, and anybody can have a name below it` : undefined;
}

/**
 * `*.example.com`: every name of one label before example.com, which itself is not among them, nor is what has two. At
 * least two labels follow the star, and none of the domains below which strangers have names.
 */
export const WildcardName = z.string().superRefine((text, ctx) => {
  const zone = text.slice(2);
  const why = everybodys(zone);
  const problem =
    !text.startsWith("*.") || !DnsName.safeParse(zone).success || zone.length > 189
      ? "must be a star for one whole label before an exact lower-case name of at least two, such as *.example.com"
      : why !== undefined
        ? `must not be where others have names: ${why}; allow each exact name`
        : undefined;
  if (problem !== undefined) ctx.addIssue({ code: "custom", message: `received ${JSON.stringify(text)}; ${problem}` });
});

/** An exact name, or a wildcard where one is written. */
const EgressName = z.string().superRefine((text, ctx) => {
  const { error } = (text.includes("*") ? WildcardName : DnsName).safeParse(text);
  for (const { code, message } of error?.issues ?? [])
    ctx.addIssue({
      code: "custom",
      message: code === "custom" ? message : `received ${JSON.stringify(text)}; ${message}`,
    });
});

export const EgressGrant = z
  .strictObject({
    principal: z
      .string()
      .regex(/^(gateway|(agent|shell|mcp)\/[a-z0-9-]+)$/)
      .describe(
        "Who may connect: `agent/<name>`, `shell/<name>` (the commands of that agent), `mcp/<name>` (an MCP server on the host) or `gateway`.",
      ),
    name: EgressName.describe(
      "The TLS server name that may be reached, on TCP 443: exact, or `*.example.com` for all of one label before it.",
    ),
  })
  .describe("One principal may open TLS connections to a name; the address is resolved by the egress proxy.");

export type EgressGrant = z.infer<typeof EgressGrant>;

/** Addresses that are no machine's own, or hand credentials to whoever asks: granted to nobody. */
const NEVER = {
  ipv4: blockList("ipv4", [
    ...["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "198.18.0.0/15", "224.0.0.0/3"],
    // other clouds' metadata, and what stands beside it
    ...["100.100.100.200/32", "168.63.129.16/32"],
  ]),
  // a list of its own: in one list Node.js would hold IPv4 addresses against their mapped form
  ipv6: blockList("ipv6", [
    ...["::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "fe80::/10", "fec0::/10", "ff00::/8"],
    ...["fd00:ec2::254/128", "fd20:ce::254/128"],
  ]),
};

function blockList(family: "ipv4" | "ipv6", networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = "", bits] = network.split("/");
    list.addSubnet(address, Number(bits), family);
  }
  return list;
}

/** Networks of one's own: RFC 1918, shared address space (RFC 6598), unique local IPv6. */
const PRIVATE = {
  ipv4: blockList("ipv4", ["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16"]),
  ipv6: blockList("ipv6", ["fc00::/7"]),
};

/** Whether an IP address is of a private network, where what is sent does not cross the Internet. */
export function isPrivateAddress(address: string): boolean {
  const family = isIP(address);
  return family !== 0 && PRIVATE[`ipv${family as 4 | 6}`].check(address, `ipv${family as 4 | 6}`);
}

/** One address in its usual form, private or public. */
export const GrantableAddress = z.string().superRefine((text, ctx) => {
  const family = isIP(text);
  const usual = family === 6 ? new URL(`http://[${text.split("%")[0]}]`).hostname.slice(1, -1) : text;
  const problem =
    family === 0
      ? "must be one IP address such as 10.0.0.5 or fd00::5 (no network, no port, no name)"
      : usual !== text
        ? `must be written as ${usual}`
        : NEVER[`ipv${family as 4 | 6}`].check(text, `ipv${family as 4 | 6}`)
          ? "is of the host itself, link-local, multicast, translated or a metadata service; none of these is granted"
          : undefined;
  if (problem !== undefined) ctx.addIssue({ code: "custom", message: problem });
});

export const ConnectGrant = z
  .strictObject({
    principal: z
      .string()
      .regex(/^(gateway|(agent|shell)\/[a-z0-9-]+)$/)
      .describe("Who may connect: `agent/<name>`, `shell/<name>` (the commands of that agent) or `gateway`."),
    host: z
      .union([DnsName, GrantableAddress])
      .describe("Exact DNS name, which must lead to a public address, or an IP address, private or public."),
    port: z.number().int().min(1).max(65535).describe("TCP port. What is spoken there is not looked at."),
  })
  .describe(
    "One principal may connect to one TCP port of one name or address; the egress proxy resolves the name and connects.",
  );

export type ConnectGrant = z.infer<typeof ConnectGrant>;
