import type { IConstruct } from "constructs";
import { z } from "zod";
import { DnsName, GrantableAddress, WildcardName } from "../runtime/policy/egress/schema.ts";
import type { GrantBook } from "./grants.ts";
import { checked, knownKeys, refuse } from "./refuse.ts";
import { warnOfWildcard } from "./wildcard.ts";

export interface EgressProps {
  /**
   * TCP port.
   * @default 443, by TLS with this server name alone
   */
  readonly port?: number;
}

const Port = z.number().int("must be a whole number").min(1).max(65535);

/** Whom a name or an address is granted to: the principal, and how the user's own code calls it. */
interface Grantee {
  readonly book: GrantBook;
  readonly principal: string;
  readonly where: string;
  /** Where synth shows a warning. */
  readonly scope: IConstruct;
}

/**
 * Grants a name, on one port; or with a warning a wildcard, on TCP 443.
 * @throws Refusal for anything else, a port that is none, a second grant
 */
export function grantName({ book, principal, where, scope }: Grantee, name: string, props: EgressProps): void {
  const inner = `${where}.allowEgress`;
  const path = book.path(inner);
  knownKeys(path, props, ["port"]);
  if (typeof name === "string" && name.includes("*")) {
    if (props.port !== undefined && props.port !== 443)
      refuse(
        path,
        name,
        "a wildcard is of TCP 443, where the TLS server name is seen; allow each exact name with its port",
      );
    book.egress(inner, { principal, name: checked(path, WildcardName, name) });
    warnOfWildcard(scope, path, name);
    return;
  }
  const host = checked(path, DnsName, name);
  const port = checked(`${path}.port`, Port, props.port ?? 443);
  if (port === 443) book.egress(inner, { principal, name: host });
  else book.connect(inner, { principal, host, port });
}

/** Grants one port of one address. @throws Refusal for anything else, or a second grant */
export function grantAddress({ book, principal, where }: Grantee, address: string, port: number): void {
  const inner = `${where}.allowAddress`;
  const path = book.path(inner);
  const host = checked(path, GrantableAddress, address);
  book.connect(inner, { principal, host, port: checked(`${path}.port`, Port, port) });
}
