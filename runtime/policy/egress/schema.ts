import { z } from "zod";

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

export const EgressGrant = z
  .strictObject({
    principal: z
      .string()
      .regex(/^(gateway|(agent|mcp)\/[a-z0-9-]+)$/)
      .describe("Who may connect: `agent/<name>`, `mcp/<name>` (an MCP server on the host) or `gateway`."),
    name: DnsName.describe("The exact TLS server name that may be reached, on TCP 443."),
  })
  .describe("One principal may open TLS connections to one exact name; the address is resolved by the egress proxy.");

export type EgressGrant = z.infer<typeof EgressGrant>;
