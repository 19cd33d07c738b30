import { readFileSync } from "node:fs";
import { canonicalJson } from "../../spec/digest.ts";
import { resolverPort } from "../../spec/names.ts";
import { PLACEHOLDER_IPV4 } from "./addresses.ts";
import type { Principal } from "./principals.ts";

/** The program that answers principals with a wildcard. */
export const RESOLVER_PROGRAM = readFileSync(new URL("./templates/resolver.py", import.meta.url), "utf8");

/** Its configuration, which it takes by a reload: which names each principal may ask for, by the port it comes to. */
export function renderResolver(principals: readonly Principal[]): string {
  const asking = principals.filter(({ zones }) => zones.length > 0);
  return `${canonicalJson({
    address: PLACEHOLDER_IPV4,
    ports: Object.fromEntries(asking.map(({ uid, zones }) => [String(resolverPort(uid)), [...zones]])),
  })}\n`;
}
